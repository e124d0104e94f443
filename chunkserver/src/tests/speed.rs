//! How fast it is. Not run with the others, for it judges the machine as much as the code:
//! `cargo test --release -p cairn-chunkserver --lib -- --ignored speed --nocapture --test-threads 1`

use futures::StreamExt;

use super::*;

/// Pieces under way at the same time.
const DEPTH: usize = 8;

/// Since when, on the wall and in time of this process on processors: on a busy machine only the second says something.
struct Meter {
    began: Instant,
    processor_ms: i64,
}

impl Meter {
    fn start() -> Self {
        Self { began: Instant::now(), processor_ms: processor_ms() }
    }

    fn report(&self, what: &str, bytes: usize) {
        let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
        let processor = (processor_ms() - self.processor_ms) as f64 / 1e3;
        let wall = self.began.elapsed().as_secs_f64();
        println!("{what}: {:.0} MB/s; {:.0} MB per second of processor", rate(wall), rate(processor));
    }
}

fn processor_ms() -> i64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()].iter().map(|t| t.tv_sec() * 1000 + t.tv_usec() / 1000).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed_of_writing_to_two_and_reading() {
    let [a, b] = nodes().await;
    let piece = pattern(1, MIB);
    for round in 0..3 {
        let pieces =
            (0..8 * 64).map(|n: usize| write_request(chunk(round * 8 + n as u64 / 64), n % 64 * MIB, &piece, &[&b]));
        let requests: Vec<_> = pieces.collect();
        let meter = Meter::start();
        let writes = requests.into_iter().map(|request| a.client.write(soon(), request));
        let mut writes = futures::stream::iter(writes).buffer_unordered(DEPTH);
        while let Some(ack) = writes.next().await {
            ack.unwrap().unwrap();
        }
        meter.report("write, 1 MiB pieces, two servers", 512 * MIB);
        let meter = Meter::start();
        let reads = (0..8 * 64).map(|n: u32| {
            let handle = ChunkHandle(round * 8 + u64::from(n) / 64);
            let at_least = ChunkVersion::FIRST;
            a.client.read(soon(), ReadRequest { handle, at_least, offset: n % 64 * MIB as u32, len: MIB as u32 })
        });
        let mut reads = futures::stream::iter(reads).buffer_unordered(DEPTH);
        while let Some(reply) = reads.next().await {
            assert_eq!(reply.unwrap().unwrap().data.len(), MIB);
        }
        meter.report("read, 1 MiB pieces", 512 * MIB);
    }
    small_reads(&a).await;
    small_writes(&a, &b).await;
}

async fn small_reads(a: &Node) {
    const COUNT: u32 = 10_000;
    let request = |n: u32| ReadRequest {
        handle: ChunkHandle(1),
        at_least: ChunkVersion::FIRST,
        offset: n.wrapping_mul(7919) % 16384 * BLOCK as u32,
        len: BLOCK as u32,
    };
    let began = Instant::now();
    for n in 0..COUNT {
        a.store.read(request(n)).await.unwrap();
    }
    println!("read 4 KiB, in the store: {:.1} us", began.elapsed().as_micros() as f64 / f64::from(COUNT));
    let began = Instant::now();
    for n in 0..COUNT {
        a.client.read(soon(), request(n)).await.unwrap().unwrap();
    }
    println!("read 4 KiB, over the wire: {:.1} us", began.elapsed().as_micros() as f64 / f64::from(COUNT));
}

async fn small_writes(a: &Node, b: &Node) {
    const COUNT: u32 = 3_000;
    let data = pattern(2, BLOCK);
    for rest in [vec![], vec![b]] {
        let began = Instant::now();
        for n in 0..COUNT {
            let offset = (n.wrapping_mul(7919) % 16384) as usize * BLOCK;
            a.client.write(soon(), write_request(chunk(1), offset, &data, &rest)).await.unwrap().unwrap();
        }
        let each = began.elapsed().as_micros() as f64 / f64::from(COUNT);
        println!("write 4 KiB, {} servers: {each:.1} us", rest.len() + 1);
    }
    let began = Instant::now();
    for n in 0..300u64 {
        let id = chunk(1000 + n);
        a.client.write(soon(), write_request(id, 0, &data, &[b])).await.unwrap().unwrap();
    }
    println!("create 4 KiB chunk, 2 servers: {:.1} us", began.elapsed().as_micros() as f64 / 300.0);
    let began = Instant::now();
    for n in 0..300u64 {
        a.client.hand_back(soon(), chain_request(chunk(1000 + n), &[b])).await.unwrap().unwrap();
    }
    println!("hand a 4 KiB chunk back, 2 servers: {:.1} us", began.elapsed().as_micros() as f64 / 300.0);
}
