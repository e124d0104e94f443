//! Accepting connections on a TCP port or a Unix socket.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use tokio::net::{TcpListener, UnixListener};

use super::endpoint::Endpoint;
use super::socket::{self, BoxedIo};

/// A bound socket. A Unix socket's file goes with it.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    endpoint: Endpoint,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds. Port 0 takes a free port, to be read from [`Listener::endpoint`]. A Unix socket left behind by a process
    /// that is gone is replaced; one that somebody listens on is not.
    pub async fn bind(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port)).await?;
                let endpoint = Endpoint::Tcp { host: host.clone(), port: listener.local_addr()?.port() };
                Ok(Self { socket: Socket::Tcp(listener), endpoint })
            }
            Endpoint::Unix(path) => {
                remove_stale(path)?;
                let listener = UnixListener::bind(path)?;
                Ok(Self { socket: Socket::Unix(listener), endpoint: endpoint.clone() })
            }
        }
    }

    /// Where clients on this machine connect to: as bound, with the real port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The next connection and a text that names its peer.
    pub async fn accept(&self) -> io::Result<(BoxedIo, String)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                socket::tune_tcp(&stream)?;
                Ok((Box::new(stream), address.to_string()))
            }
            Socket::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                socket::tune_unix(&stream)?;
                let peer = stream.peer_cred().ok().and_then(|credentials| credentials.pid());
                Ok((Box::new(stream), peer.map_or_else(|| "unix:?".to_owned(), |pid| format!("unix:pid {pid}"))))
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Endpoint::Unix(path) = &self.endpoint {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}
