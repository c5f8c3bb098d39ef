//! Backward: from the log's end back to the last event of the ledger, past all that others have
//! written since.

use kurrentdb::{Client, Error, ReadAllOptions, StreamPosition};
use tokio::time::sleep;

use crate::{
    address::as_caller,
    connection::SILENCE_MAX,
    log_reads::{collect, position},
    store::Store,
};

impl Store {
    /// Looks backward from the end. The server does not say how far it is, so it may be silent for
    /// as long as it answers [another question](Self::wait_until_unresponsive).
    pub(super) async fn backward(&self) -> Result<u64, Error> {
        let options = ReadAllOptions::default().position(StreamPosition::End).backwards().filter(self.filter());
        let options = &as_caller!(self.connection.address(), options);
        let ask = |client: Client| async move {
            let looking = async {
                let mut read = client.read_all(options).await?;
                while let Some(event) = read.next().await? {
                    if self.owns(&event) {
                        return Ok(position(&event).commit);
                    }
                }
                Ok(0)
            };
            tokio::select! {
                head = looking => head,
                error = self.wait_until_unresponsive(&client) => Err(error),
            }
        };
        let head = self.connection.call(ask).await?;
        self.positions.note_event(head);
        Ok(head)
    }

    /// Returns when the server does not answer what it could answer at once, with the error.
    pub(crate) async fn wait_until_unresponsive(&self, client: &Client) -> Error {
        let options = ReadAllOptions::default().position(StreamPosition::End).backwards().max_count(1);
        let options = as_caller!(self.connection.address(), options);
        loop {
            sleep(SILENCE_MAX).await;
            if let Err(error) = collect(client, &options, 1, &mut Vec::new()).await {
                return error;
            }
        }
    }
}
