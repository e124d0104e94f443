//! A metaserver in this process and a client of all its services.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;
use std::time::{Duration, Instant};

use cairn_metaserver::{Metaserver, MetaserverConfig, StartError};
use cairn_proto::admin::AdminServiceClient;
use cairn_proto::attr::{Attr, Credentials};
use cairn_proto::chunk::ChunkLocation;
use cairn_proto::cluster::ClusterServiceClient;
use cairn_proto::error::FsError;
use cairn_proto::ids::{ChunkIndex, InodeId, OpId, SessionId};
use cairn_proto::meta::{
    Ahead, ClientInfo, Event, MetaServiceClient, Mutation, MutationReply, NamedMutation, NewNode, SessionGrant,
};
use cairn_proto::name::Name;
use cairn_proto::transport::{ConnectOptions, Endpoint, PeerKind, Reconnecting, Service};
use tarpc::context::{self, Context};
use tokio::task::AbortHandle;

pub type Stub<Req, Resp> = Reconnecting<Req, Resp>;
pub type Meta = MetaServiceClient<Stub<cairn_proto::meta::MetaServiceRequest, cairn_proto::meta::MetaServiceResponse>>;
pub type Cluster = ClusterServiceClient<
    Stub<cairn_proto::cluster::ClusterServiceRequest, cairn_proto::cluster::ClusterServiceResponse>,
>;
pub type Admin =
    AdminServiceClient<Stub<cairn_proto::admin::AdminServiceRequest, cairn_proto::admin::AdminServiceResponse>>;

pub fn config(dir: &Path) -> MetaserverConfig {
    MetaserverConfig {
        data_dir: dir.join("meta"),
        listen: "127.0.0.1:0".into(),
        health_listen: "127.0.0.1:0".into(),
        session_term_s: 1,
        garbage_grace_s: 0,
        ..MetaserverConfig::default()
    }
}

/// Starts; after a stop the directory may still be locked for a moment.
pub async fn start(config: MetaserverConfig) -> Metaserver {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match Metaserver::start(config.clone()).await {
            Ok(server) => return server,
            Err(StartError::Open(error)) if Instant::now() < deadline => {
                eprintln!("{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

pub fn ctx() -> Context {
    let mut context = context::current();
    context.deadline = Instant::now() + Duration::from_secs(20);
    context
}

/// A client of all three services, with a session.
#[derive(Debug)]
pub struct Client {
    pub meta: Meta,
    pub cluster: Cluster,
    pub admin: Admin,
    pub session: SessionId,
    pub seq: u64,
}

impl Client {
    pub async fn connect(endpoint: &Endpoint) -> Self {
        let mut client = Self::without_session(endpoint);
        client.session = client.open_session(None, vec![]).await.unwrap();
        client
    }

    pub fn without_session(endpoint: &Endpoint) -> Self {
        let options = |service| ConnectOptions::new(service, PeerKind::Client);
        Self {
            meta: Meta::from(Stub::new(endpoint.clone(), options(Service::Meta))),
            cluster: Cluster::from(Stub::new(endpoint.clone(), options(Service::Cluster))),
            admin: Admin::from(Stub::new(endpoint.clone(), options(Service::Admin))),
            session: SessionId(0),
            seq: 0,
        }
    }

    pub async fn open_session(&self, resume: Option<SessionId>, open: Vec<InodeId>) -> Result<SessionId, FsError> {
        let info = ClientInfo { host: "h".into(), mountpoint: "/mnt".into(), pid: 1, version: "0".into() };
        let SessionGrant { session, incarnation, .. } =
            self.meta.open_session(ctx(), info, resume, open).await.unwrap()?;
        if resume.is_some() {
            // It has kept no leases.
            self.meta.reclaim_leases(ctx(), session, incarnation, vec![], true).await.unwrap()?;
            self.meta.dropped_the_rest(ctx(), session, incarnation).await.unwrap()?;
        }
        Ok(session)
    }

    /// From now on the client drops leases when it is told to, and does nothing else that it is asked for. It stays alive by that.
    pub fn attend(&self) -> AbortHandle {
        let (meta, session) = (self.meta.clone(), self.session);
        let attending = tokio::spawn(async move {
            let mut seen = 0;
            while let Ok(Ok(events)) = meta.events(ctx(), session, seen).await {
                seen = events.seen;
                let leases = |asked: &&(u64, Event)| matches!(asked.1, Event::Drop { .. } | Event::Downgrade { .. });
                let acted = events.events.iter().filter(leases).map(|(number, _)| *number).collect();
                if meta.acted(ctx(), session, acted).await.is_err() {
                    return;
                }
            }
        });
        attending.abort_handle()
    }

    pub fn name_op(&mut self, mutation: Mutation) -> NamedMutation {
        self.name_ahead(mutation, None)
    }

    /// Names an operation that was done already, where `ahead` says how.
    pub fn name_ahead(&mut self, mutation: Mutation, ahead: Option<Ahead>) -> NamedMutation {
        self.seq += 1;
        NamedMutation { op: OpId { session: self.session, seq: self.seq }, mutation, ahead }
    }

    pub async fn repeat(&self, op: NamedMutation) -> Result<MutationReply, FsError> {
        let mut results = self.meta.mutate(ctx(), vec![op], 0).await.unwrap()?;
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    /// Sends a batch; answers the results.
    pub async fn send(&self, ops: Vec<NamedMutation>) -> Vec<Result<MutationReply, FsError>> {
        self.meta.mutate(ctx(), ops, 0).await.unwrap().unwrap()
    }

    pub async fn lookup(&self, parent: InodeId, entry: &str) -> Result<Attr, FsError> {
        let found = self.meta.lookup(ctx(), self.session, parent, name(entry)).await.unwrap()?;
        found.entry.map(|entry| entry.value).ok_or(FsError::NotFound)
    }

    pub async fn mutate(&mut self, mutation: Mutation) -> Result<MutationReply, FsError> {
        let op = self.name_op(mutation);
        self.repeat(op).await
    }

    pub async fn create(&mut self, name: &str) -> InodeId {
        entry_of(self.mutate(create(InodeId::ROOT, name, NewNode::File, false)).await.unwrap())
    }

    pub async fn allocate(&mut self, inode: InodeId, count: u32) -> Result<Vec<ChunkLocation>, FsError> {
        let reply = self.mutate(Mutation::AllocateChunks { inode, first: ChunkIndex(0), count }).await?;
        match reply {
            MutationReply::Chunks(chunks) => Ok(chunks),
            other => panic!("{other:?}"),
        }
    }
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn create(parent: InodeId, entry: &str, node: NewNode, open: bool) -> Mutation {
    let owner = Credentials { uid: 0, gid: 0 };
    Mutation::Create { parent, name: name(entry), node, mode: 0o755, umask: 0, owner, exclusive: false, open }
}

pub fn unlink(entry: &str) -> Mutation {
    Mutation::Unlink { parent: InodeId::ROOT, name: name(entry) }
}

pub fn entry_of(reply: MutationReply) -> InodeId {
    match reply {
        MutationReply::Entry { attr, .. } => attr.inode,
        other => panic!("{other:?}"),
    }
}

pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
