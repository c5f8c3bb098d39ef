//! A topic of SNS that keeps the messages that it takes: some at the first try, some later.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{Router, extract::State, http::StatusCode};
use tokio::net::TcpListener;

/// Shows a number below ten.
pub type Die = Box<dyn FnMut() -> usize + Send>;

/// The topic.
#[derive(Clone)]
pub struct TopicStandIn {
    /// The endpoint, for `AWS_ENDPOINT_URL`.
    pub url: String,
    state: Arc<Mutex<TopicState>>,
}

impl fmt::Debug for TopicStandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicStandIn").field("url", &self.url).finish_non_exhaustive()
    }
}

struct TopicState {
    /// By which it refuses; `None` where it does not.
    die: Option<Die>,
    /// The messages that were taken, in their order, each with its position.
    taken: Vec<(u64, String)>,
    refused: usize,
    /// How many messages more are taken before the topic stops, amid a request.
    until_stop: Option<usize>,
}

impl TopicState {
    /// Whether the die, if there is one, shows less than a number.
    fn rolls_less_than(&mut self, number: usize) -> bool {
        self.die.as_mut().is_some_and(|die| die() < number)
    }
}

impl TopicStandIn {
    /// Serves a topic on loopback. With a die it fails one of ten requests or so, and refuses three
    /// of ten messages.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn serve(die: Option<Die>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = TopicState { die, taken: Vec::new(), refused: 0, until_stop: None };
        let topic = Self { url, state: Arc::new(Mutex::new(state)) };
        let router = Router::new().fallback(take).with_state(topic.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(topic)
    }

    fn state(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock().expect("a lock")
    }

    /// The messages that were taken, in their order, each with its position.
    #[must_use]
    pub fn taken(&self) -> Vec<(u64, String)> {
        self.state().taken.clone()
    }

    /// How many messages were taken.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().taken.len()
    }

    /// Takes so many messages more, and then stops amid the request: it answers neither that one
    /// nor a later one.
    pub fn stop_after(&self, messages: usize) {
        self.state().until_stop = Some(messages);
    }

    /// Whether it has stopped.
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.state().until_stop == Some(0)
    }

    /// Takes messages and answers again.
    pub fn go_on(&self) {
        self.state().until_stop = None;
    }

    /// How many messages were refused.
    #[must_use]
    pub fn refused(&self) -> usize {
        self.state().refused
    }
}

async fn take(State(topic): State<TopicStandIn>, body: String) -> (StatusCode, String) {
    match take_some(&topic, &body) {
        Some(answer) => answer,
        // The answer never comes.
        None => std::future::pending().await,
    }
}

/// Takes the messages of a request; `None` where the topic has stopped.
fn take_some(topic: &TopicStandIn, body: &str) -> Option<(StatusCode, String)> {
    let fields: BTreeMap<String, String> = body
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect();
    let mut state = topic.state();
    if state.until_stop == Some(0) {
        return None;
    }
    if state.rolls_less_than(1) {
        return Some((StatusCode::SERVICE_UNAVAILABLE, String::new()));
    }
    let (mut successful, mut failed) = (String::new(), String::new());
    for member in 1.. {
        let field = |name: &str| fields.get(&format!("PublishBatchRequestEntries.member.{member}.{name}"));
        let (Some(id), Some(message)) = (field("Id"), field("Message")) else { break };
        if state.until_stop == Some(0) {
            return None;
        }
        if state.rolls_less_than(3) {
            state.refused += 1;
            write!(failed, "<member><Id>{id}</Id><Code>InternalError</Code><SenderFault>false</SenderFault></member>")
                .expect("a string");
            continue;
        }
        let attribute = (1..4).find(|entry| {
            field(&format!("MessageAttributes.entry.{entry}.Name")).map(String::as_str) == Some("ledgerPosition")
        });
        let attribute = attribute.expect("the attribute");
        let position = field(&format!("MessageAttributes.entry.{attribute}.Value.StringValue")).expect("its value");
        state.taken.push((position.parse().expect("a position"), message.clone()));
        state.until_stop = state.until_stop.map(|left| left - 1);
        write!(successful, "<member><Id>{id}</Id><MessageId>{member}</MessageId></member>").expect("a string");
    }
    let answer = format!(
        "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishBatchResult>\
         <Successful>{successful}</Successful><Failed>{failed}</Failed></PublishBatchResult></PublishBatchResponse>"
    );
    (state.until_stop != Some(0)).then_some((StatusCode::OK, answer))
}

/// A name or value of a form.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).expect("a digit");
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => bytes.push(u8::try_from(digit(rest.next()) * 16 + digit(rest.next())).expect("a byte")),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
