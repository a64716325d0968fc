-- Relational part of a QorSync source, valid for SQLite and PostgreSQL. Money is text in plain decimals and times are
-- ISO 8601 with offset, because SQLite would turn NUMERIC into floating point. A server may use NUMERIC and TIMESTAMPTZ
-- columns instead: the export casts both to text.
CREATE TABLE IF NOT EXISTS qorsync_documents (
    document_id TEXT PRIMARY KEY,
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
    updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS qorsync_documents_updated ON qorsync_documents (updated_at);
