//! Of several addresses of a name, the first that answers.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;

/// After so long without an answer the next address is tried, too, and the one before goes on: a host that swallows packets costs this, and
/// not the minutes that TCP takes to give up. The "Connection Attempt Delay" of RFC 8305, section 5.
const STAGGER: Duration = Duration::from_millis(250);

/// Connects to one of the addresses, tried in their order. Where none answers, the last error; `None` where there is no address.
pub async fn first_of(addresses: impl IntoIterator<Item = SocketAddr>) -> Option<io::Result<TcpStream>> {
    let mut waiting = addresses.into_iter().peekable();
    let mut under_way = FuturesUnordered::new();
    let mut failure = None;
    loop {
        match waiting.next() {
            Some(address) => under_way.push(TcpStream::connect(address)),
            None if under_way.is_empty() => return failure.map(Err),
            None => {}
        }
        let answer = if waiting.peek().is_some() {
            tokio::time::timeout(STAGGER, under_way.next()).await.unwrap_or(None)
        } else {
            under_way.next().await
        };
        match answer {
            Some(Ok(stream)) => return Some(Ok(stream)),
            Some(Err(error)) => failure = Some(error),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use socket2::{Domain, Socket, Type};

    use super::*;

    /// One that answers nothing: its queue of connections is full, so the kernel drops what asks for another.
    fn silent() -> (Socket, Vec<Socket>, SocketAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let queued = (0..4).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        });
        let queued = queued.collect();
        (listener, queued, address.as_socket().unwrap())
    }

    fn refusing() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn whoever_answers_is_taken() {
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let good_address = good.local_addr().unwrap();
        let (_listener, _queued, silent) = silent();
        for addresses in [vec![good_address], vec![refusing(), good_address], vec![silent, refusing(), good_address]] {
            let stream = first_of(addresses).await.unwrap().unwrap();
            assert_eq!(stream.peer_addr().unwrap(), good_address);
        }
    }

    #[tokio::test]
    async fn a_silent_one_is_waited_for_where_nobody_else_is_left() {
        let (_listener, _queued, silent) = silent();
        let waited = tokio::time::timeout(3 * STAGGER, first_of([silent, refusing()])).await;
        assert!(waited.is_err(), "{waited:?}");
    }

    #[tokio::test]
    async fn where_nobody_answers_it_says_why() {
        let error = first_of([refusing(), refusing()]).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of([]).await.is_none());
    }
}
