//! A subscription to the ledger's events.

use std::ops::ControlFlow;

use kurrentdb_protocol::FilterOptions;

use crate::{
    client::{CallError, ServerPosition, SubscriptionMessage},
    retries::{ServerConnection, in_time},
};

/// Listens to the events after a position until `observe` breaks or the subscription ends by
/// itself. In the second case the error says why. Ends as well where the future is dropped.
pub(crate) async fn subscribe(
    connection: &ServerConnection,
    filter: FilterOptions,
    after: ServerPosition,
    mut observe: impl FnMut(SubscriptionMessage) -> ControlFlow<()>,
) -> Result<(), CallError> {
    // The server begins its answer with the confirmation.
    let mut reader = connection.call(async |client| in_time(client.subscribe(after, filter.clone())).await).await?;
    let mut message = in_time(reader.next_message()).await?;
    while let Some(received) = message {
        if observe(received).is_break() {
            return Ok(());
        }
        message = reader.next_message().await?;
    }
    Err(CallError::Unexpected("a subscription with its end"))
}
