//! Requests as bytes over a connection of their own, from an address of the test's choice.

use std::net::{IpAddr, Ipv4Addr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::PATIENCE;

/// Connects to a program from 127.0.0.N: each N is another client.
pub async fn connect_from(client: u8, base_url: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((IpAddr::V4(Ipv4Addr::new(127, 0, 0, client)), 0).into()).expect("take an address");
    let address = base_url.trim_start_matches("http://").parse().expect("an address");
    socket.connect(address).await.expect("connect")
}

/// Sends bytes over a connection of their own, closes its sending side, and reads to the end.
pub async fn exchange(base_url: &str, request: &str) -> String {
    exchange_from(1, base_url, request).await
}

/// As [`exchange`], from 127.0.0.N.
pub async fn exchange_from(client: u8, base_url: &str, request: &str) -> String {
    let (mut receive, mut send) = connect_from(client, base_url).await.into_split();
    let mut answer = String::new();
    let sending = async {
        // A server that has refused a part may have closed the connection.
        let _ = send.write_all(request.as_bytes()).await;
        let _ = send.shutdown().await;
    };
    let reading = async {
        let read = timeout(PATIENCE, receive.read_to_string(&mut answer)).await;
        read.expect("the connection ends").expect("an answer in UTF-8");
    };
    tokio::join!(sending, reading);
    answer
}

/// The status of an answer.
pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}
