//! Where the lines of the event-time examples come from: a socket, or a text that is in the program.

use std::sync::Arc;

use millstream::arrow::array::{ArrayRef, StringArray};
use millstream::prelude::*;

/// Lines as a stream with one column, `value`.
pub(crate) enum Lines {
    /// `--host H --port P` was given.
    Socket(DataFrame),
    /// The embedded text: blocks between empty lines arrive one after the other.
    Embedded { stream: MemoryStream, text: &'static str },
}

impl Lines {
    /// From the socket the arguments name, or else the embedded `text`.
    pub(crate) fn new(session: &Session, text: &'static str) -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1).cloned();
        match value("--port") {
            Some(port) => {
                let host = value("--host").unwrap_or_else(|| "localhost".to_string());
                Self::Socket(session.read_stream().format("socket").option("host", host).option("port", port).load())
            }
            None => Self::Embedded { stream: MemoryStream::new(session, "value STRING"), text },
        }
    }

    /// The lines `time,text` as columns `eventTime` and `text`; a line without a time has a null there.
    pub(crate) fn timed(&self) -> DataFrame {
        let lines = match self {
            Self::Socket(lines) => lines.clone(),
            Self::Embedded { stream, .. } => stream.to_df(),
        };
        let parts = lines.select([split(col("value"), ",").alias("parts")]);
        parts.select([
            element_at(col("parts"), 1).cast("timestamp").alias("eventTime"),
            element_at(col("parts"), 2).alias("text"),
        ])
    }

    /// Feeds the query until it ends: with the socket until Ctrl-C, with the embedded text until all is processed.
    pub(crate) fn run(&self, query: &StreamingQuery) -> Result<()> {
        let Self::Embedded { stream, text } = self else { return query.await_termination() };
        for block in text.split("\n\n") {
            let lines: Vec<&str> = block.lines().filter(|line| !line.starts_with('#')).collect();
            println!("> {}", lines.join("\n> "));
            stream.add_rows([Arc::new(StringArray::from(lines)) as ArrayRef])?;
            query.process_all_available()?;
        }
        query.stop()
    }
}
