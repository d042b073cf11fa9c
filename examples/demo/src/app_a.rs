//! App A: a page that counts its visits in PostgreSQL. It keeps no state of its own, so that any
//! replica may die at any time; it is ready only while the database answers.

use crate::http::{Answer, answer, serve, text};
use ::http::{Method, StatusCode};
use std::cell::RefCell;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// How long a page waits for the database before it says that it is not there.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone)]
struct App {
    database: Rc<str>,
    pod: Rc<str>,
    connection: Rc<RefCell<Option<Rc<Client>>>>,
}

pub async fn run() -> Result<(), Box<dyn Error>> {
    let app = App {
        database: std::env::var("DATABASE_URL").map_err(|_| "DATABASE_URL is not set")?.into(),
        pod: std::env::var("HOSTNAME").unwrap_or_default().into(),
        connection: Rc::default(),
    };
    serve(move |request| {
        let app = app.clone();
        async move {
            match (request.method(), request.uri().path()) {
                (&Method::GET, "/") => app.page().await,
                (&Method::GET, "/count") => match app.count(false).await {
                    Ok(count) => text(StatusCode::OK, format!("{count}\n")),
                    Err(error) => app.down(&error),
                },
                (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
                (&Method::GET, "/readyz") => match app.count(false).await {
                    Ok(_) => text(StatusCode::OK, "ok\n"),
                    Err(error) => app.down(&error),
                },
                _ => text(StatusCode::NOT_FOUND, "not found\n"),
            }
        }
    })
    .await
}

impl App {
    async fn page(&self) -> Answer {
        match self.count(true).await {
            Ok(count) => answer(
                StatusCode::OK,
                "text/html; charset=utf-8",
                format!(
                    "<!doctype html><title>App A</title><h1>App A</h1>\n<p>visits: <b id=\"count\">{count}</b></p>\n<p>served by {}</p>\n",
                    self.pod
                ),
            ),
            Err(error) => self.down(&error),
        }
    }

    fn down(&self, error: &str) -> Answer {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("database: {error}\n"))
    }

    /// The visits so far, this one counted where `visit` says so.
    async fn count(&self, visit: bool) -> Result<i64, String> {
        let asked = tokio::time::timeout(PATIENCE, async {
            let client = self.client().await?;
            if visit {
                client.execute("INSERT INTO visits (pod) VALUES ($1)", &[&&*self.pod]).await?;
            }
            client.query_one("SELECT count(*) FROM visits", &[]).await.map(|row| row.get(0))
        })
        .await;
        let outcome = match asked {
            Ok(Ok(count)) => return Ok(count),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer".to_string(),
        };
        // The next request connects anew.
        self.connection.borrow_mut().take();
        Err(outcome)
    }

    async fn client(&self) -> Result<Rc<Client>, tokio_postgres::Error> {
        let open = self.connection.borrow().clone();
        if let Some(client) = open.filter(|c| !c.is_closed()) {
            return Ok(client);
        }
        let (client, connection) = tokio_postgres::connect(&self.database, NoTls).await?;
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                eprintln!("database connection: {error}");
            }
        });
        client
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS visits (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pod text NOT NULL, at timestamptz NOT NULL DEFAULT now())",
            )
            .await
            .or_else(|error| {
                // Two replicas that start together may both find the table missing.
                let code = error.code().map(|c| c.code().to_string());
                if matches!(code.as_deref(), Some("42P07" | "23505")) { Ok(()) } else { Err(error) }
            })?;
        let client = Rc::new(client);
        *self.connection.borrow_mut() = Some(client.clone());
        Ok(client)
    }
}
