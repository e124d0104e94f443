//! Frames: golden bytes, every size of payload, and what damaged or hostile bytes do.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, future};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tarpc::{ClientMessage, Request, Response, ServerError, context, trace};
use tokio::io::DuplexStream;

use super::super::frame::PREFIX_BYTES;
use super::super::reader::FrameReader;
use super::super::writer::FrameWriter;
use super::super::{Framed, Incoming, MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, Outgoing, Payload, TransportError};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parts {
    name: String,
    parts: Vec<Payload>,
}

type Reply = Response<Parts>;

fn reply(name: &str, parts: Vec<Vec<u8>>) -> Reply {
    let parts = parts.into_iter().map(Payload::from).collect();
    Response { request_id: 7, message: Ok(Parts { name: name.into(), parts }) }
}

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

/// What `message` looks like on the wire.
fn written<M: Outgoing>(message: &M) -> Vec<u8> {
    let mut writer = FrameWriter::default();
    writer.push(message).unwrap();
    let mut wire = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(writer.poll_write(&mut wire, &mut cx, |_| false).is_ready());
    wire
}

/// The first message of `wire`; `None` at a clean end.
fn read<M: Incoming>(mut wire: &[u8]) -> Option<Result<M, TransportError>> {
    let mut cx = Context::from_waker(Waker::noop());
    match FrameReader::default().poll_message(&mut wire, &mut cx) {
        Poll::Ready(message) => message,
        Poll::Pending => unreachable!("a slice is always ready"),
    }
}

fn checksummed(mut frame: Vec<u8>) -> Vec<u8> {
    let header_len = u32::from_le_bytes(frame[4..8].try_into().unwrap()) as usize;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..12]);
    hasher.update(&frame[PREFIX_BYTES..PREFIX_BYTES + header_len]);
    frame[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
    frame
}

#[test]
fn golden_response() {
    let wire = written(&reply("ab", vec![b"xyz".to_vec(), vec![], b"!".to_vec()]));
    #[rustfmt::skip]
    let header = [
        7, 0,                   // request id, Ok
        2, b'a', b'b',          // name
        3, 1, 3, 1, 0, 1, 1,    // three payloads, attached: 3, 0 and 1 bytes
    ];
    let mut expected = vec![b'C', b'F', b'r', b'm', header.len() as u8, 0, 0, 0, 4, 0, 0, 0, 0xed, 0x89, 0x85, 0xfe];
    expected.extend(header);
    expected.extend(b"xyz!");
    assert_eq!(wire, expected);
}

#[test]
fn golden_calls() {
    let mut context = context::current();
    context.deadline = Instant::now();
    context.trace_context = trace::Context::default();
    let request = ClientMessage::Request(Request { context, id: 300, message: Payload::from(b"hi".to_vec()) });
    let wire = written(&request);
    let mut header = vec![0, 0xac, 0x02, 0]; // request, its id, no time left
    header.extend([0; 16]); // trace
    header.extend([0, 1]); // span, not sampled
    header.extend([1, 2]); // payload, attached: 2 bytes
    assert_eq!(wire[PREFIX_BYTES..wire.len() - 2], header);
    assert_eq!(&wire[wire.len() - 2..], b"hi");

    let cancel = ClientMessage::<Payload>::Cancel { trace_context: trace::Context::default(), request_id: 5 };
    let mut header = vec![1, 5];
    header.extend([0; 16]);
    header.extend([0, 1]);
    assert_eq!(written(&cancel)[PREFIX_BYTES..], header);
}

#[tokio::test]
async fn every_size_arrives_whole() {
    // A narrow pipe, so that every frame arrives in pieces.
    for pipe in [7, 4096, 1 << 20] {
        let (near, far) = tokio::io::duplex(pipe);
        let mut sender = Framed::<_, Reply, Reply>::new(near);
        let mut receiver = Framed::<_, Reply, Reply>::new(far);
        let sizes: &[usize] = if pipe < 4096 {
            &[0, 1, 100, 20_000]
        } else {
            &[0, 1, 4095, 8192, 8193, 16_384, 16_385, 65_536, 1 << 20, (4 << 20) - 1, 4 << 20, MAX_PAYLOAD_BYTES]
        };
        for &size in sizes {
            let message = reply("one", vec![patterned(size)]);
            let (sent, received) = future::join(sender.send(message.clone()), receiver.next()).await;
            sent.unwrap();
            assert_eq!(received.unwrap().unwrap(), message, "{size} bytes through a pipe of {pipe}");
        }
    }
}

#[tokio::test]
async fn many_frames_and_payloads_in_one_go() {
    let (near, far) = tokio::io::duplex(64 << 10);
    let mut sender = Framed::<_, Reply, Reply>::new(near);
    let receiver = Framed::<_, Reply, Reply>::new(far);
    let messages: Vec<Reply> = (0..200)
        .map(|i| reply(&format!("message {i}"), vec![patterned(i), patterned(i * 97), vec![], patterned(i * 500)]))
        .collect();
    let sending = async {
        for message in &messages {
            sender.feed(message.clone()).await.unwrap();
        }
        sender.close().await.unwrap();
    };
    let (received, ()) = future::join(receiver.map(Result::unwrap).collect::<Vec<_>>(), sending).await;
    assert_eq!(received, messages);
}

#[tokio::test]
async fn received_payloads_are_independent_of_the_connection() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut sender = Framed::<_, Reply, Reply>::new(near);
    let mut receiver = Framed::<_, Reply, Reply>::new(far);
    let mut kept = Vec::new();
    for round in 0..40u8 {
        let message = reply("", vec![vec![round; 100_000]]);
        let (sent, received) = future::join(sender.send(message), receiver.next()).await;
        sent.unwrap();
        kept.push(received.unwrap().unwrap().message.unwrap().parts.remove(0));
    }
    for (round, payload) in kept.iter().enumerate() {
        assert!(payload.iter().all(|byte| usize::from(*byte) == round), "round {round} was overwritten");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_sent() {
    let (near, far) = tokio::io::duplex(1 << 20);
    type Message = ClientMessage<Parts>;
    let mut sender = Framed::<DuplexStream, Message, Message>::new(near);
    let mut receiver = Framed::<DuplexStream, Message, Message>::new(far);
    let request = |name: &str, parts: Vec<Payload>| {
        let message = Parts { name: name.to_owned(), parts };
        ClientMessage::Request(Request { context: context::current(), id: 1, message })
    };
    let half = Payload(Bytes::from(vec![0; MAX_PAYLOAD_BYTES / 2 + 1]));
    let error = sender.feed(request("", vec![half.clone(), half.clone()])).await.unwrap_err();
    assert!(matches!(error, TransportError::PayloadTooLarge { bytes } if bytes == MAX_PAYLOAD_BYTES + 2), "{error}");
    assert!(error.spares_connection());
    let error = sender.feed(request(&"n".repeat(MAX_HEADER_BYTES), vec![])).await.unwrap_err();
    assert!(matches!(error, TransportError::Encode(_)) && error.spares_connection(), "{error}");

    // The connection is as if nothing had been.
    let (sent, received) = future::join(sender.send(request("small", vec![half])), receiver.next()).await;
    sent.unwrap();
    assert!(matches!(received, Some(Ok(ClientMessage::Request(request))) if request.message.name == "small"));
}

#[test]
fn golden_refusal() {
    let error = ServerError::new(io::ErrorKind::WouldBlock, "no".into());
    let refusal: Reply = Response { request_id: 1, message: Err(error) };
    let wire = written(&refusal);
    assert_eq!(wire[PREFIX_BYTES..], [1, 1, 0, 2, b'n', b'o']);
    assert_eq!(read::<Reply>(&wire).unwrap().unwrap(), refusal);
}

#[tokio::test]
async fn a_response_too_large_becomes_an_error_response() {
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut sender = Framed::<_, Reply, Reply>::new(near);
    let mut receiver = Framed::<_, Reply, Reply>::new(far);
    sender.send(reply("", vec![vec![0; MAX_PAYLOAD_BYTES + 1]])).await.unwrap();
    let received = receiver.next().await.unwrap().unwrap();
    let ServerError { kind, detail, .. } = received.message.unwrap_err();
    assert_eq!((received.request_id, kind), (7, io::ErrorKind::InvalidData));
    assert!(detail.contains("8388609 payload bytes"), "{detail}");
}

#[test]
fn limits_are_checked_before_anything_is_allocated() {
    let mut frame = written(&reply("ab", vec![]));
    frame[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(read::<Reply>(&frame), Some(Err(TransportError::PayloadTooLarge { .. }))));
    frame[4..8].copy_from_slice(&(MAX_HEADER_BYTES as u32 + 1).to_le_bytes());
    assert!(matches!(read::<Reply>(&frame), Some(Err(TransportError::HeaderTooLarge { .. }))));
    frame[0] = 0;
    assert!(matches!(read::<Reply>(&frame), Some(Err(TransportError::BadMagic { .. }))));
}

#[test]
fn payload_and_header_have_to_agree() {
    let mut frame = written(&reply("ab", vec![b"xyz".to_vec()]));
    frame.push(b'?');
    frame[8] += 1;
    let frame = checksummed(frame);
    assert!(matches!(read::<Reply>(&frame), Some(Err(TransportError::Unclaimed { bytes: 1 }))));
    let mut frame = frame[..frame.len() - 2].to_vec();
    frame[8] -= 2;
    assert!(matches!(read::<Reply>(&checksummed(frame)), Some(Err(TransportError::Decode(_)))));
}

#[test]
fn every_truncation_is_noticed() {
    for parts in [vec![b"xyz".to_vec()], vec![patterned(30_000)]] {
        let frame = written(&reply("ab", parts));
        assert!(read::<Reply>(&frame[..0]).is_none());
        for cut in (1..frame.len()).take(300).chain([frame.len() - 1]) {
            assert!(matches!(read::<Reply>(&frame[..cut]), Some(Err(TransportError::Truncated))), "cut at {cut}");
        }
    }
}

#[test]
fn every_flipped_bit_of_the_head_is_noticed() {
    let message = reply("a name", vec![b"xyz".to_vec()]);
    let frame = written(&message);
    for bit in 0..(frame.len() - 3) * 8 {
        let mut damaged = frame.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(read::<Reply>(&damaged), Some(Err(_))), "bit {bit}");
    }
}

/// Damage that a checksum does not catch, because it was computed over it.
#[test]
fn hostile_headers_are_errors_and_never_panics() {
    let mut rng = StdRng::seed_from_u64(0xCA1);
    let mut context = context::current();
    context.deadline = Instant::now() + std::time::Duration::from_secs(5);
    let message = Parts { name: "victim".into(), parts: vec![b"xyz".to_vec().into()] };
    let frame = written(&ClientMessage::Request(Request { context, id: 9, message }));
    let header_end = frame.len() - 3;
    let mut understood = 0;
    for _ in 0..100_000 {
        let mut damaged = frame.clone();
        for _ in 0..rng.random_range(1..=6) {
            let at = rng.random_range(PREFIX_BYTES..header_end);
            damaged[at] = if rng.random() { rng.random() } else { 0xff };
        }
        understood += usize::from(matches!(read::<ClientMessage<Parts>>(&checksummed(damaged)), Some(Ok(_))));
    }
    assert!(understood > 0, "the damage should sometimes pass as another message");
}

#[test]
fn a_hostile_deadline_is_shortened() {
    let wire = postcard::to_stdvec(&(0u8, 1u64, u64::MAX, [0u8; 16], 0u64, 1u8, ())).unwrap();
    let call = postcard::from_bytes(&wire).unwrap();
    let ClientMessage::Request(request) = ClientMessage::<()>::from_wire(call) else { panic!("a request") };
    assert!(request.context.deadline <= Instant::now() + super::super::MAX_DEADLINE);
}

#[test]
fn random_bytes_are_errors_and_never_panics() {
    let mut rng = StdRng::seed_from_u64(0xCA2);
    for _ in 0..20_000 {
        let mut bytes = vec![0; rng.random_range(1..200)];
        rng.fill(&mut bytes[..]);
        if rng.random() && bytes.len() >= PREFIX_BYTES {
            bytes[..4].copy_from_slice(b"CFrm");
            bytes[6..8].fill(0);
            bytes[10..12].fill(0);
            let header_len = (bytes.len() - PREFIX_BYTES) as u32;
            bytes[4..8].copy_from_slice(&header_len.to_le_bytes());
            bytes = checksummed(bytes);
        }
        if let Some(Ok(reply)) = read::<Reply>(&bytes) {
            assert!(reply.message.map_or(0, |parts| parts.name.len()) < 200);
        }
    }
}
