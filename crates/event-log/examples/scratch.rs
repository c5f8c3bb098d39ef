#![allow(missing_docs, clippy::unwrap_used)]
use chrono::Utc;
use domain::{Stream, identifier::EventId};
use event_log::*;
use futures::StreamExt;
use sqlx::postgres::PgPoolOptions;
use std::{
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use uuid::Uuid;

fn event() -> NewEvent {
    NewEvent { event_id: EventId(Uuid::new_v4()), type_name: "AllocationMade".into(), recorded_at: Utc::now(),
        metadata: format!("{{\"commandId\":\"{}\",\"correlationId\":\"{}\",\"effectiveAt\":\"2026-03-01T09:00:00Z\",\"recordedBy\":{{\"client\":\"allocation-ledger bench\",\"username\":\"BENCH_USER\"}},\"requestDigest\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\",\"schemaVersion\":1}}", Uuid::new_v4(), Uuid::new_v4()).into(),
        data: r#"{"note":"A note to the POM","overrideReasons":["SUITABILITY"],"pom":{"kind":"PROBATION","name":"Okafor, Grace","staffId":485926},"prison":"LEI","recommendationPolicy":"TIER","recommendedPomKind":"PRISON","suitabilityDetail":"Knows the case","tier":"B2"}"#.into() }
}
fn stream(n: u64) -> Stream {
    let a = |k: u64| (b'A' + (k % 26) as u8) as char;
    Stream::Prisoner(format!("{}{:04}{}{}", a(n / 676 / 10000), n / 676 % 10000, a(n / 26), a(n)).parse().unwrap())
}
#[tokio::main(worker_threads = 2)]
async fn main() {
    let url = std::env::var("URL").unwrap_or("postgres://ledger@localhost/bench?host=/tmp/pg-log/sock".into());
    let secs: f64 = std::env::var("SECS").map_or(4.0, |s| s.parse().unwrap());
    let pool = PgPoolOptions::new().max_connections(8).connect(&url).await.unwrap();
    let t = Instant::now();
    postgres::migrate(&pool).await.unwrap();
    println!("migrate {:?}", t.elapsed());
    let log = Arc::new(PostgresLog::connect(&pool).await.unwrap());
    let next = Arc::new(AtomicU64::new(Utc::now().timestamp_micros() as u64 % 100_000_000));
    for callers in std::env::args().skip(1).map(|a| a.parse::<usize>().unwrap()) {
        let done = Arc::new(AtomicU64::new(0));
        let head = log.head().await.unwrap();
        let t = Instant::now();
        let tasks: Vec<_> = (0..callers)
            .map(|_| {
                let (log, next, done) = (log.clone(), next.clone(), done.clone());
                tokio::spawn(async move {
                    let mut lat = Duration::ZERO;
                    while t.elapsed().as_secs_f64() < secs {
                        let s = stream(next.fetch_add(1, Ordering::Relaxed));
                        for r in 0..5u64 {
                            let l = Instant::now();
                            let e = if r == 0 { ExpectedRevision::NoStream } else { ExpectedRevision::Exact(r - 1) };
                            log.append(&s, e, vec![event()]).await.unwrap();
                            done.fetch_add(1, Ordering::Relaxed);
                            lat = lat.max(l.elapsed());
                        }
                    }
                    lat
                })
            })
            .collect();
        let mut worst = Duration::ZERO;
        for task in tasks {
            worst = worst.max(task.await.unwrap());
        }
        let n = done.load(Ordering::Relaxed);
        println!(
            "{callers} callers: {:.0}/s, worst {worst:?}, head moved {}",
            n as f64 / t.elapsed().as_secs_f64(),
            log.head().await.unwrap() - head
        );
    }
    let t = Instant::now();
    let mut f = log.follow_all(0);
    let mut n = 0;
    loop {
        match f.next().await.unwrap().unwrap() {
            Followed::Events(e) => n += e.len(),
            Followed::CaughtUp { position } => {
                println!("caught up {position}");
                break;
            }
        }
    }
    println!("follow: {n} events {:.0}/s", n as f64 / t.elapsed().as_secs_f64());
    let mut lats = vec![];
    for i in 0..30 {
        let l = Instant::now();
        log.append(&stream(next.fetch_add(1, Ordering::Relaxed)), ExpectedRevision::NoStream, vec![event()])
            .await
            .unwrap();
        let a = l.elapsed();
        f.next().await.unwrap().unwrap();
        if i > 9 {
            lats.push((a, l.elapsed()));
        }
        f.next().await.unwrap().unwrap();
    }
    println!("append, follower woken: {:?}", lats[10]);
    let other = PostgresLog::connect(&pool).await.unwrap();
    let mut lats = vec![];
    for _ in 0..30 {
        let l = Instant::now();
        other
            .append(&stream(next.fetch_add(1, Ordering::Relaxed)), ExpectedRevision::NoStream, vec![event()])
            .await
            .unwrap();
        f.next().await.unwrap().unwrap();
        lats.push(l.elapsed());
        f.next().await.unwrap().unwrap();
    }
    lats.sort();
    println!("other instance: median {:?} max {:?}", lats[15], lats[29]);
    let s = stream(next.fetch_add(1, Ordering::Relaxed));
    log.append(&s, ExpectedRevision::NoStream, (0..50).map(|_| event()).collect()).await.unwrap();
    log.append(&s, ExpectedRevision::Exact(49), (0..50).map(|_| event()).collect()).await.unwrap();
    let t = Instant::now();
    for _ in 0..200 {
        assert_eq!(log.read_stream(&s, 0, 1000).await.unwrap().len(), 100);
    }
    println!("stream of 100: {:?}", t.elapsed() / 200);
}
