//! Registration, reports, heartbeats and orders, against a metaserver that is made of a list.

use std::sync::Mutex;

use cairn_proto::cluster::{
    ChunkChange, ClusterError, ClusterService, Heartbeat, HeartbeatReply, LiveSessions, Order, Registered,
    Registration, Report,
};

use super::*;
use crate::{Chunkserver, ChunkserverConfig, RunError};

/// What it was told, and what it shall answer.
#[derive(Clone, Default)]
struct Metaserver(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    registrations: Vec<Registration>,
    reports: Vec<Report>,
    heartbeats: Vec<Heartbeat>,
    goodbyes: usize,
    refuses_registration: Option<ClusterError>,
    /// Answers to heartbeats, next one last; then all is well.
    answers: Vec<Result<HeartbeatReply, ClusterError>>,
}

impl ClusterService for Metaserver {
    async fn register(self, _: Context, registration: Registration) -> Result<Registered, ClusterError> {
        let mut script = self.0.lock().unwrap();
        script.registrations.push(registration);
        match script.refuses_registration.clone() {
            Some(error) => Err(error),
            None => {
                let sessions = LiveSessions { next: SessionId(1), live: Vec::new() };
                Ok(Registered { cluster: CLUSTER, heartbeat_ms: 20, sessions, next_chunk: ChunkHandle(1) })
            }
        }
    }

    async fn report(self, _: Context, report: Report) -> Result<(), ClusterError> {
        self.0.lock().unwrap().reports.push(report);
        Ok(())
    }

    async fn heartbeat(self, _: Context, heartbeat: Heartbeat) -> Result<HeartbeatReply, ClusterError> {
        let mut script = self.0.lock().unwrap();
        script.heartbeats.push(heartbeat);
        script.answers.pop().unwrap_or(Ok(HeartbeatReply { orders: Vec::new() }))
    }

    async fn goodbye(self, _: Context, _: ServerId) -> Result<(), ClusterError> {
        self.0.lock().unwrap().goodbyes += 1;
        Ok(())
    }
}

impl Metaserver {
    async fn listen(&self, stop: &Shutdown) -> Endpoint {
        let listener = Listener::bind(&"127.0.0.1:0".parse().unwrap()).await.unwrap();
        let endpoint = listener.endpoint().clone();
        let face = self.clone();
        let wire = Server::new(PeerKind::Metaserver, ServerLimits::default())
            .with(WireService::Cluster, move |context, request| face.clone().serve().serve(context, request));
        stop.spawn(wire.run(listener, stop.token()));
        endpoint
    }

    async fn until(&self, what: &str, holds: impl Fn(&Script) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(&self.0.lock().unwrap()) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }
}

fn config(dir: &std::path::Path, metaservers: &[&Endpoint]) -> ChunkserverConfig {
    ChunkserverConfig {
        data_dir: dir.join("data").into(),
        listen: "127.0.0.1:0".into(),
        health_listen: String::new(),
        metaservers: metaservers.iter().map(ToString::to_string).collect(),
        name: "here".into(),
        reserve_bytes: 0,
        ..ChunkserverConfig::default()
    }
}

#[tokio::test]
async fn a_server_registers_reports_and_tells_every_metaserver_what_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (world, shutdown) = (Shutdown::new(), Shutdown::new());
    let metaservers = [Metaserver::default(), Metaserver::default()];
    let endpoints = [metaservers[0].listen(&world).await, metaservers[1].listen(&world).await];
    let server = Chunkserver::start(config(dir.path(), &[&endpoints[0], &endpoints[1]])).await.unwrap();
    let (id, endpoint, health) = (server.id(), server.endpoint().clone(), server.health());
    assert!(!health.readiness().ready);
    let running = tokio::spawn(server.serve(shutdown.clone()));
    for metaserver in &metaservers {
        metaserver.until("heartbeats", |script| script.heartbeats.len() > 1).await;
        let script = metaserver.script();
        let Registration { server, cluster, name, endpoint: told, .. } = script.registrations[0].clone();
        assert_eq!((server, name.as_str(), &told), (id, "here", &endpoint));
        assert!(cluster.is_none_or(|cluster| cluster == CLUSTER));
        assert_eq!(script.reports, [Report { server: id, chunks: Vec::new(), last: true }]);
    }
    assert!(health.readiness().ready);

    let chunk = chunk(3);
    let client = client(&endpoint);
    client.write(soon(), write_request(chunk, 0, b"bytes", &[])).await.unwrap().unwrap();
    let is_news =
        |change: &ChunkChange| matches!(change, ChunkChange::Now(stat) if stat.id == chunk && stat.length == 5);
    let told = |script: &Script| script.heartbeats.iter().any(|beat| beat.changes.iter().any(is_news));
    for metaserver in &metaservers {
        metaserver.until("the new chunk", told).await;
    }
    // Forgotten by one of them: it hears everything again, and the other is not bothered.
    let registered = metaservers[1].script().registrations.len();
    metaservers[0].script().answers = vec![Err(ClusterError::UnknownServer(id))];
    metaservers[0].until("another report", |script| script.reports.len() == 2).await;
    {
        let script = metaservers[0].script();
        assert_eq!(script.reports[1].chunks[0].id, chunk);
        assert_eq!(script.registrations.last().unwrap().cluster, Some(CLUSTER));
        assert_eq!(metaservers[1].script().registrations.len(), registered);
    }
    // An order is carried out, and confirmed.
    let order = Order::Delete(vec![(chunk.handle, chunk.version)]);
    metaservers[0].script().answers = vec![Ok(HeartbeatReply { orders: vec![order] })];
    let removed = |script: &Script| {
        script.heartbeats.iter().any(|beat| beat.changes.contains(&ChunkChange::Removed(chunk.handle)))
    };
    metaservers[1].until("the removal", removed).await;
    shutdown.trigger();
    running.await.unwrap().unwrap();
    assert_eq!(metaservers.map(|metaserver| metaserver.script().goodbyes), [1, 1]);
    // The same server at the next start.
    let again = Chunkserver::start(config(dir.path(), &[&endpoints[0]])).await.unwrap();
    assert_eq!(again.id(), id);
}

#[tokio::test]
async fn a_heartbeat_is_repeated_as_it_was_until_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (world, shutdown) = (Shutdown::new(), Shutdown::new());
    let metaserver = Metaserver::default();
    let endpoint = metaserver.listen(&world).await;
    let server = Chunkserver::start(config(dir.path(), &[&endpoint])).await.unwrap();
    let at = server.endpoint().clone();
    let running = tokio::spawn(server.serve(shutdown.clone()));
    metaserver.until("heartbeats", |script| !script.heartbeats.is_empty()).await;
    metaserver.script().answers = vec![Err(ClusterError::NotReady); 3];
    client(&at).write(soon(), write_request(chunk(1), 0, b"bytes", &[])).await.unwrap().unwrap();
    let news = |script: &Script| script.heartbeats.iter().filter(|beat| !beat.changes.is_empty()).count();
    metaserver.until("all answers", |script| script.answers.is_empty() && news(script) > 0).await;
    {
        let script = metaserver.script();
        for pair in script.heartbeats.windows(2) {
            assert!(pair[0] == pair[1] || pair[1].seq == pair[0].seq + 1, "{pair:?}");
        }
        assert_eq!(script.registrations.len(), 1);
    }
    shutdown.trigger();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn another_cluster_is_a_clear_end() {
    let dir = tempfile::tempdir().unwrap();
    let (world, shutdown) = (Shutdown::new(), Shutdown::new());
    let metaserver = Metaserver::default();
    let theirs = ClusterId::random();
    metaserver.script().refuses_registration = Some(ClusterError::ForeignCluster { ours: CLUSTER, theirs });
    let endpoint = metaserver.listen(&world).await;
    let server = Chunkserver::start(config(dir.path(), &[&endpoint])).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), server.serve(shutdown.clone())).await.unwrap();
    let error = ended.unwrap_err();
    assert!(matches!(error, RunError::Unwelcome(_)) && error.to_string().contains(&theirs.to_string()), "{error}");
    assert!(shutdown.is_stopping());
}

#[tokio::test]
async fn without_a_metaserver_it_waits_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = Shutdown::new();
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let server = Chunkserver::start(config(dir.path(), &[&nowhere])).await.unwrap();
    let (at, health) = (server.endpoint().clone(), server.health());
    let running = tokio::spawn(server.serve(shutdown.clone()));
    let deadline = Instant::now() + Duration::from_secs(10);
    while !health.readiness().reasons["registered"].contains("127.0.0.1:1") {
        assert!(Instant::now() < deadline, "{:?}", health.readiness());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = client(&at).write(soon(), write_request(chunk(1), 0, b"bytes", &[])).await.unwrap().unwrap_err();
    assert_eq!(error, ChunkError::NotFound(ChunkHandle(1)), "nobody has said which chunks are new here");
    shutdown.trigger();
    running.await.unwrap().unwrap();
}
