//! Rows as Apache Parquet.

use std::fs::File;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::connector::options::Options;
use crate::error::{Error, Result};

/// How column chunks are packed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parquet {
    compression: Compression,
    extension: &'static str,
}

impl Parquet {
    /// Reads the option `compression`.
    pub(super) fn from_options(options: &Options) -> Result<Self> {
        let known = ["snappy", "none", "uncompressed", "zstd"];
        let (compression, extension) = match options.choice("compression", &known, "snappy")? {
            "snappy" => (Compression::SNAPPY, "snappy.parquet"),
            "zstd" => (Compression::ZSTD(ZstdLevel::default()), "zstd.parquet"),
            _ => (Compression::UNCOMPRESSED, "parquet"),
        };
        Ok(Self { compression, extension })
    }

    /// What names of files end with.
    pub(super) fn extension(self) -> &'static str {
        self.extension
    }

    pub(super) fn start(self, file: File, schema: &SchemaRef) -> Result<ParquetFile> {
        let properties = WriterProperties::builder().set_compression(self.compression).build();
        let writer = ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties)).map_err(cannot_write)?;
        Ok(ParquetFile { writer })
    }
}

/// A file being written.
pub(super) struct ParquetFile {
    writer: ArrowWriter<File>,
}

impl ParquetFile {
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(cannot_write)
    }

    /// Writes what is left and gives the file back.
    pub(super) fn finish(self) -> Result<File> {
        self.writer.into_inner().map_err(cannot_write)
    }
}

fn cannot_write(error: ParquetError) -> Error {
    Error::connector(error.to_string()).with_source(error)
}
