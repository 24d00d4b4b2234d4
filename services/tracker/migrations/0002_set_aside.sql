-- Messages that the projection could not use. They hold nothing up, and are looked at again when the model is rebuilt.
CREATE TABLE set_aside (
    stream     text NOT NULL,
    seq        bigint NOT NULL,
    subject    text NOT NULL,
    stored_at  timestamptz NOT NULL,
    size_bytes bigint NOT NULL,
    reason     text NOT NULL,
    PRIMARY KEY (stream, seq)
);
CREATE INDEX set_aside_newest ON set_aside (stored_at, seq);
