//! Sockets with frames: a length of 32 bits, then so many bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use web_time::Instant;

use super::protocol::Hello;
use crate::exec::ExecError;

/// How long a worker may take until it is there: opening a device takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often is looked whether someone came.
const GLANCE: Duration = Duration::from_millis(5);

/// An end of a connection.
#[derive(Debug)]
pub struct Link(TcpStream);

/// Why nothing came or went.
pub type Broken = std::io::Error;

impl Link {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Result<Self, Broken> {
        Self::of(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    fn of(stream: TcpStream) -> Result<Self, Broken> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(false)?;
        Ok(Self(stream))
    }

    /// Another handle of the same end.
    pub fn twin(&self) -> Result<Self, Broken> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Sends a value.
    pub fn send<T: Serialize>(&mut self, value: &T) -> Result<(), Broken> {
        self.send_bytes(&postcard::to_allocvec(value).map_err(Broken::other)?)
    }

    /// Waits for a value.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<T, Broken> {
        postcard::from_bytes(&self.receive_bytes()?).map_err(Broken::other)
    }

    /// Sends words as they are.
    pub fn send_words(&mut self, words: &[u32]) -> Result<(), Broken> {
        self.send_bytes(bytemuck::cast_slice(words))
    }

    /// Waits for words.
    pub fn receive_words(&mut self) -> Result<Vec<u32>, Broken> {
        Ok(bytemuck::pod_collect_to_vec(&self.receive_bytes()?))
    }

    fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        let length = u32::try_from(bytes.len()).map_err(Broken::other)?;
        self.0.write_all(&length.to_le_bytes())?;
        self.0.write_all(bytes)
    }

    fn receive_bytes(&mut self) -> Result<Vec<u8>, Broken> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        // Grows with what comes, so that a wrong length takes no memory.
        let (length, mut bytes) = (u64::from(u32::from_le_bytes(length)), Vec::new());
        (&self.0).take(length).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < length { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }
}

/// A socket on the loopback interface that waits for workers.
#[derive(Debug)]
pub struct Door {
    listener: TcpListener,
    token: u64,
}

impl Door {
    /// Opens one at a free port; who knocks without `token` is sent away.
    pub fn open(token: u64) -> Result<Self, Broken> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, token })
    }

    /// Where it is.
    pub fn address(&self) -> Result<SocketAddr, Broken> {
        self.listener.local_addr()
    }

    /// Waits for the next worker; `alive` says whether it can still come.
    pub fn welcome(&self, alive: &mut dyn FnMut() -> Result<(), ExecError>) -> Result<(Link, Hello), ExecError> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some(guest) = self.known(stream) {
                        return Ok(guest);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    alive()?;
                    std::thread::sleep(GLANCE);
                }
                Err(error) => return Err(ExecError::Workers(error.to_string())),
            }
        }
        Err(ExecError::Workers(format!("a worker was not there after {} s", PATIENCE.as_secs())))
    }

    /// The guest, if it says who it is and knows the secret.
    fn known(&self, stream: TcpStream) -> Option<(Link, Hello)> {
        let mut link = Link::of(stream).ok()?;
        link.0.set_read_timeout(Some(PATIENCE)).ok()?;
        let hello: Hello = link.receive().ok()?;
        link.0.set_read_timeout(None).ok()?;
        (hello.token == self.token).then_some((link, hello))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(token: u64) -> Hello {
        Hello { number: 3, token, address: None }
    }

    #[test]
    fn a_stranger_is_sent_away_and_the_worker_let_in() {
        let door = Door::open(7).expect("a free port");
        let address = door.address().expect("it is open");
        let guests = std::thread::spawn(move || {
            let mut stranger = Link::connect(address).expect("it is open");
            stranger.send(&hello(8)).expect("it is read");
            let mut worker = Link::connect(address).expect("it is open");
            worker.send(&hello(7)).expect("it is read");
            worker.send_words(&[1, 2, 3]).expect("it is read");
            (stranger.receive::<Hello>().is_err(), worker.receive_words())
        });
        let (mut link, guest) = door.welcome(&mut || Ok(())).expect("one of them knows the token");
        assert_eq!(guest, hello(7));
        assert_eq!(link.receive_words().expect("three"), [1, 2, 3]);
        drop(link);
        let (refused, nothing) = guests.join().expect("it does not panic");
        assert!(refused && nothing.is_err());
    }

    #[test]
    fn a_worker_that_cannot_come_is_not_waited_for() {
        let door = Door::open(7).expect("a free port");
        let gone = door.welcome(&mut || Err(ExecError::Workers("it is gone".into())));
        assert_eq!(gone.expect_err("nobody came"), ExecError::Workers("it is gone".into()));
    }
}
