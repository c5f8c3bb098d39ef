//! The paths of the methods.

pub const READ: &str = "/event_store.client.streams.Streams/Read";
pub const APPEND: &str = "/event_store.client.streams.Streams/Append";
pub const BATCH_APPEND: &str = "/event_store.client.streams.Streams/BatchAppend";
pub const DELETE: &str = "/event_store.client.streams.Streams/Delete";
pub const TOMBSTONE: &str = "/event_store.client.streams.Streams/Tombstone";
pub const SUPPORTED_METHODS: &str = "/event_store.client.server_features.ServerFeatures/GetSupportedMethods";
pub const GOSSIP: &str = "/event_store.client.gossip.Gossip/Read";
