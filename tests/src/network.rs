//! A network of its own for a cluster: its servers in one network namespace, each client in one more, joined by a bridge. A client
//! can be cut off, and nothing of it is seen outside.
//!
//! The namespaces have no names, unlike those of `ip netns add`, which outlive a test that is killed: these go with the last
//! descriptor and the last process of theirs. Only networks are apart: the file systems are those of the test.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns, unshare};

use crate::run;

/// Where the servers are, for all.
pub const SERVERS: &str = "10.86.0.1";
/// Addresses of hosts, after that of the servers.
const FIRST_HOST: u8 = 2;

/// A network namespace, as long as this or a process in it lives.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
}

impl Namespace {
    /// With a loopback device, and no other.
    fn new() -> Result<Self> {
        // Namespaces are of threads; this one ends with its new one, and leaves the descriptor.
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("a network namespace needs root")?;
            File::open("/proc/thread-self/ns/net").context("open the namespace")
        });
        let file = made.join().expect("making a namespace does not panic")?;
        let made = Self { file: Arc::new(file) };
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// Has `command` run in it.
    pub fn enter(&self, command: &mut Command) {
        let file = Arc::clone(&self.file);
        // SAFETY: `setns` is one system call and allocates nothing, as a child between fork and exec has to.
        unsafe { command.pre_exec(move || setns(&*file, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from)) };
    }

    /// A path by which another process of this user can open it.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    fn ip(&self, args: &str) -> Result<()> {
        self.run("ip", args)
    }

    fn run(&self, program: &str, args: &str) -> Result<()> {
        let mut command = Command::new(program);
        command.args(args.split(' '));
        self.enter(&mut command);
        run::check(&mut command).map(drop)
    }
}

/// The servers' namespace with a bridge, to which hosts are joined.
#[derive(Debug)]
pub struct Network {
    servers: Namespace,
    hosts: std::cell::Cell<u8>,
}

impl Network {
    pub fn new() -> Result<Self> {
        let servers = Namespace::new()?;
        servers.ip("link add bridge type bridge")?;
        servers.ip(&format!("addr add {SERVERS}/24 dev bridge"))?;
        servers.ip("link set bridge up")?;
        Ok(Self { servers, hosts: std::cell::Cell::new(0) })
    }

    pub fn servers(&self) -> &Namespace {
        &self.servers
    }

    /// One more host.
    pub fn host(&self) -> Result<Host> {
        let n = self.hosts.replace(self.hosts.get() + 1);
        let address = format!("10.86.0.{}", FIRST_HOST + n);
        let host =
            Host { namespace: Namespace::new()?, servers: self.servers.clone(), port: format!("port{n}"), address };
        self.servers.ip(&format!("link add {} type veth peer name eth0 netns {}", host.port, host.namespace.path()))?;
        self.servers.ip(&format!("link set {} master bridge", host.port))?;
        host.namespace.ip(&format!("addr add {}/24 dev eth0", host.address))?;
        host.namespace.ip("link set eth0 up")?;
        host.plug("up")?;
        Ok(host)
    }
}

/// A machine, as far as its network goes.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    servers: Namespace,
    port: String,
    address: String,
}

/// What is done with all packets that go one way; as `tc` calls it.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// No packet fits through.
    Nothing,
    /// A hundred kilobytes a second, late.
    Slow,
}

impl Shape {
    fn discipline(self) -> &'static str {
        match self {
            Self::Nothing => "tbf rate 8kbit burst 1 limit 1",
            Self::Slow => "tbf rate 800kbit burst 16kb limit 64kb",
        }
    }
}

impl Host {
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// As long as the answer lives nothing comes through, and nobody is told: it is the other end of its cable that is pulled.
    pub fn cut(&self) -> Result<Cut<'_>> {
        self.plug("down")?;
        Ok(Cut { host: self })
    }

    /// As long as the answer lives, nobody hears of this host, but it hears everything.
    pub fn mute(&self) -> Result<Shaped<'_>> {
        Shaped::new(&self.namespace, "eth0", Shape::Nothing)
    }

    /// As long as the answer lives, this host hears nothing, but is heard.
    pub fn deafen(&self) -> Result<Shaped<'_>> {
        Shaped::new(&self.servers, &self.port, Shape::Nothing)
    }

    /// As long as the answer lives, what this host says takes its time.
    pub fn slow(&self) -> Result<Shaped<'_>> {
        Shaped::new(&self.namespace, "eth0", Shape::Slow)
    }

    /// Where it is reached.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn plug(&self, state: &str) -> Result<()> {
        self.servers.ip(&format!("link set {} {state}", self.port))
    }
}

/// A host without a network. Dropped, it has it again: a mount that hangs cannot be unmounted.
#[derive(Debug)]
pub struct Cut<'a> {
    host: &'a Host,
}

impl Cut<'_> {
    pub fn end(self) {}
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        let _ = self.host.plug("up");
    }
}

/// One way of a cable is not as it should be. Dropped, it is again.
#[derive(Debug)]
pub struct Shaped<'a> {
    namespace: &'a Namespace,
    device: &'a str,
}

impl<'a> Shaped<'a> {
    fn new(namespace: &'a Namespace, device: &'a str, shape: Shape) -> Result<Self> {
        namespace.run("tc", &format!("qdisc replace dev {device} root {}", shape.discipline()))?;
        Ok(Self { namespace, device })
    }
}

impl Drop for Shaped<'_> {
    fn drop(&mut self) {
        let _ = self.namespace.run("tc", &format!("qdisc del dev {} root", self.device));
    }
}
