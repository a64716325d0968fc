-- Relational part of a QorSync source in SQLite: money is text in plain decimals and times are ISO 8601 with offset,
-- because SQLite would turn NUMERIC into floating point and knows no times. On PostgreSQL processed_at and updated_at are
-- TIMESTAMPTZ, received_at should be, and money should be NUMERIC. The export's month is that of processed_at, in UTC.
CREATE TABLE IF NOT EXISTS qorsync_documents (
    document_id TEXT PRIMARY KEY NOT NULL,
    document_type TEXT NOT NULL,
    document_subtype TEXT,
    language TEXT,
    status TEXT NOT NULL,
    vendor_number TEXT,
    process_number TEXT,
    document_number TEXT,
    total_amount TEXT,
    currency TEXT,
    file_sha256 TEXT NOT NULL,
    media_type TEXT NOT NULL,
    received_at TEXT,
    processed_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS qorsync_documents_updated ON qorsync_documents (updated_at);
CREATE INDEX IF NOT EXISTS qorsync_documents_processed ON qorsync_documents (processed_at);
