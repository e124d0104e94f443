//! Handshakes: golden bytes, and every way in which two ends do not go together.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::super::handshake::{self, HandshakeError, Verdict};
use super::super::{PROTOCOL_VERSION, PeerKind, Service};

const TIMEOUT: Duration = Duration::from_secs(5);
const GOLDEN: [u8; 16] = *b"CAIRNFS\n\x01\x00\x03\x00\x01\x00\x00\x00";

async fn greet(io: &mut tokio::io::DuplexStream) -> Result<(), HandshakeError> {
    handshake::greet(io, Service::Chunk, PeerKind::Client, TIMEOUT).await
}

async fn receive(io: &mut tokio::io::DuplexStream) -> Result<Service, HandshakeError> {
    handshake::receive(io, &[Service::Chunk, Service::Admin], PeerKind::Chunkserver, TIMEOUT).await
}

/// What `greet` makes of a server that answers `answer`.
async fn greeted_with(answer: [u8; 16]) -> HandshakeError {
    let (mut near, mut far) = duplex(64);
    far.write_all(&answer).await.unwrap();
    greet(&mut near).await.unwrap_err()
}

#[tokio::test]
async fn golden_hello_and_answer() {
    let (mut near, mut far) = duplex(64);
    let client = tokio::spawn(async move { greet(&mut near).await });
    let mut hello = [0; 16];
    far.read_exact(&mut hello).await.unwrap();
    assert_eq!(hello, GOLDEN);

    let (mut relay, mut server) = duplex(64);
    let server = tokio::spawn(async move { receive(&mut server).await });
    relay.write_all(&hello).await.unwrap();
    let mut answer = [0; 16];
    relay.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"CAIRNFS\n\x01\x00\x03\x00\x03\x00\x00\x00");
    assert_eq!(server.await.unwrap().unwrap(), Service::Chunk);

    far.write_all(&answer).await.unwrap();
    client.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_version_is_named_on_both_sides() {
    let mut newer = GOLDEN;
    newer[8..10].copy_from_slice(&(PROTOCOL_VERSION + 1).to_le_bytes());
    let text = greeted_with(newer).await.to_string();
    assert_eq!(
        text,
        "this process speaks protocol version 1, the peer version 2: upgrade this process to the peer's release"
    );

    let (mut near, mut far) = duplex(64);
    let mut older = GOLDEN;
    older[8..10].copy_from_slice(&0u16.to_le_bytes());
    near.write_all(&older).await.unwrap();
    let text = receive(&mut far).await.unwrap_err().to_string();
    assert_eq!(text, "this process speaks protocol version 1, the peer version 0: upgrade the peer to this release");
    // The older client is answered, so that it can say so to its user.
    let mut answer = [0; 16];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!((answer[8], answer[14]), (1, Verdict::Version as u8));
}

#[tokio::test]
async fn a_service_that_is_not_there() {
    let (mut near, mut far) = duplex(64);
    let asked = handshake::greet(&mut near, Service::Meta, PeerKind::Client, TIMEOUT);
    let (asked, received) = futures::future::join(asked, receive(&mut far)).await;
    let expected = "the metadata service is not offered at this address: check host and port";
    assert_eq!(asked.unwrap_err().to_string(), expected);
    assert_eq!(received.unwrap_err().to_string(), expected);

    let (mut near, mut far) = duplex(64);
    let mut unknown = GOLDEN;
    unknown[10] = 77;
    near.write_all(&unknown).await.unwrap();
    let text = receive(&mut far).await.unwrap_err().to_string();
    assert!(text.starts_with("the number 77 service is not offered"), "{text}");
}

#[tokio::test]
async fn servers_that_say_no() {
    let verdict = |code: u8| {
        let mut answer = GOLDEN;
        answer[14] = code;
        answer
    };
    assert!(matches!(greeted_with(verdict(Verdict::Busy as u8)).await, HandshakeError::Busy));
    assert!(matches!(greeted_with(verdict(Verdict::Stopping as u8)).await, HandshakeError::Stopping));
    assert!(matches!(greeted_with(verdict(99)).await, HandshakeError::Refused { code: 99 }));
    let mut other = GOLDEN;
    other[10] = Service::Meta as u8;
    assert!(matches!(greeted_with(other).await, HandshakeError::WrongService { .. }));
}

#[tokio::test]
async fn strangers() {
    assert!(matches!(greeted_with(*b"HTTP/1.1 400 Bad").await, HandshakeError::NotCairn { .. }));
    let (mut near, mut far) = duplex(64);
    near.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    assert!(matches!(receive(&mut far).await.unwrap_err(), HandshakeError::NotCairn { got } if &got == b"GET / HT"));

    let (near, mut far) = duplex(64);
    drop(near);
    assert!(matches!(receive(&mut far).await.unwrap_err(), HandshakeError::Closed));
}

#[tokio::test]
async fn silence_ends() {
    let (mut near, mut far) = duplex(64);
    let short = Duration::from_millis(50);
    let error = handshake::greet(&mut near, Service::Chunk, PeerKind::Client, short).await.unwrap_err();
    assert!(matches!(error, HandshakeError::TimedOut(after) if after == short), "{error}");
    far.read_exact(&mut [0; 16]).await.unwrap();
    let error = handshake::receive(&mut far, &[Service::Chunk], PeerKind::Chunkserver, short).await.unwrap_err();
    assert_eq!(error.to_string(), "the peer did not say hello within 50ms");
}
