//! Finding the node that leads.

use std::sync::Arc;

use futures::{StreamExt as _, stream::FuturesUnordered};
use kurrentdb_protocol::NodeState;
use rustls::ClientConfig;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};

use super::{CallError, Node, NodeClient, ServerAddress, connect::Connector};

/// A connection to a node, and what was learnt on the way to it.
pub(crate) struct LeaderConnection {
    pub(crate) client: NodeClient,
    /// The nodes of the cluster, to be asked when this one has gone; none where the URL names a
    /// single node.
    pub(crate) members: Vec<Node>,
}

/// How another client than the store reaches the node that leads, as the URL of the server says.
#[derive(Debug, Clone)]
pub struct LeaderAddress {
    /// A name or an address, an IPv6 address without brackets.
    pub host: String,
    /// `HOST:PORT`, as in a URL.
    pub authority: String,
    /// Absent where the connection is not encrypted.
    pub tls: Option<Arc<ClientConfig>>,
    /// The header that names the user, where the URL does.
    pub authorization: Option<MetadataValue<Ascii>>,
}

impl ServerAddress {
    /// Says how to reach one of the nodes.
    pub(crate) fn of_leader(&self, node: &Node) -> Result<LeaderAddress, CallError> {
        let tls = self.tls.as_ref().map(|settings| settings.client_config().map(Arc::new)).transpose();
        Ok(LeaderAddress {
            host: node.host.clone(),
            authority: node.to_string(),
            tls: tls.map_err(CallError::Unreached)?,
            authorization: self.authorization.clone(),
        })
    }
}

/// Connects to the node that leads: to `leader`, where another node has named it. A URL that names
/// one node is taken at its word, as the node's answers say if another one leads. Otherwise all
/// nodes named, and those `known` from earlier, are asked at once, and the first leader that is
/// named and answers is taken.
///
/// # Errors
/// [`CallError::Unreached`], which says for each node why.
pub(crate) async fn connect_to_leader(
    address: &ServerAddress,
    leader: Option<&Node>,
    known: &[Node],
) -> Result<LeaderConnection, CallError> {
    let connector = Connector::new(address).await.map_err(CallError::Unreached)?;
    let single = address.nodes.first().filter(|_| !address.is_cluster);
    let mut whys = Vec::new();
    if let Some(node) = leader.or(single) {
        match NodeClient::connect(&connector, node).await {
            Ok(client) => return Ok(LeaderConnection { client, members: Vec::new() }),
            Err(why) => whys.push(format!("{node}: {why}")),
        }
    }
    if single.is_some() {
        return Err(CallError::Unreached(whys.join("; ")));
    }
    let others = known.iter().filter(|node| !address.nodes.contains(node));
    let asking = |node| {
        let connector = &connector;
        async move { (node, ask(connector, node).await) }
    };
    let mut asked: FuturesUnordered<_> = address.nodes.iter().chain(others).map(asking).collect();
    let mut tried: Vec<Node> = Vec::new();
    while let Some((node, answer)) = asked.next().await {
        let Cluster { client, leader, members } = match answer {
            Ok(cluster) => cluster,
            Err(why) => {
                whys.push(format!("{node}: {why}"));
                continue;
            }
        };
        match leader {
            None => whys.push(format!("{node}: it knows of no leader")),
            Some(leader) if leader == *node => return Ok(LeaderConnection { client, members }),
            Some(leader) if tried.contains(&leader) => {}
            Some(leader) => {
                match NodeClient::connect(&connector, &leader).await {
                    Ok(client) => return Ok(LeaderConnection { client, members }),
                    Err(why) => whys.push(format!(
                        "{leader}, of which {node} says that it leads: {why}; do the nodes say of one another where they \
                         are reached from here?"
                    )),
                }
                tried.push(leader);
            }
        }
    }
    Err(CallError::Unreached(whys.join("; ")))
}

/// A node's answer to the question for its cluster.
struct Cluster {
    /// The client of the node itself.
    client: NodeClient,
    leader: Option<Node>,
    members: Vec<Node>,
}

/// Asks a node for the leader and the nodes of its cluster.
async fn ask(connector: &Connector<'_>, node: &Node) -> Result<Cluster, String> {
    let client = NodeClient::connect(connector, node).await?;
    let answer = timeout(connector.address.connect_time_max, client.cluster()).await;
    let cluster = answer.map_err(|_| "it does not say in time which nodes there are")?;
    let cluster = cluster.map_err(|status| CallError::from(status).to_string())?;
    let (mut leader, mut members) = (None, Vec::new());
    for member in cluster.members {
        let state = member.state;
        let Some(place) = member.http_end_point.filter(|_| member.is_alive) else { continue };
        let Ok(port) = u16::try_from(place.port) else { continue };
        let node = Node { host: place.address, port };
        if state == NodeState::Leader as i32 {
            leader = Some(node.clone());
        }
        members.push(node);
    }
    Ok(Cluster { client, leader, members })
}
