//! The wire as a whole: frames over streams, handshakes, services over sockets.

mod connections;
mod frames;
mod handshakes;
