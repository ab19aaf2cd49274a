-- The host's one row. `boot` is the boot that the rows of sandbox, endpoint, lease, ... belong to.
CREATE TABLE host (boot TEXT NOT NULL, port_cursor INTEGER) STRICT;
INSERT INTO host VALUES ('', NULL);

-- `seq` keeps the order of insertion.
CREATE TABLE endpoint (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    network TEXT NOT NULL,
    sandbox TEXT NOT NULL,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX endpoint_network ON endpoint (network);
CREATE INDEX endpoint_sandbox ON endpoint (sandbox);

-- Held by `endpoint`, or `released` as the so-many-th of its network and family. An address has 4 or 16 bytes.
CREATE TABLE lease (
    network TEXT NOT NULL,
    address BLOB NOT NULL,
    endpoint TEXT,
    released INTEGER,
    PRIMARY KEY (network, address),
    CHECK ((endpoint IS NULL) <> (released IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_released ON lease (network, length(address), released) WHERE released IS NOT NULL;

-- The next address of a subnet that was never tried.
CREATE TABLE fresh (
    network TEXT NOT NULL,
    subnet TEXT NOT NULL,
    address BLOB NOT NULL,
    PRIMARY KEY (network, subnet)
) STRICT, WITHOUT ROWID;

CREATE TABLE publish (
    protocol INTEGER NOT NULL,
    family INTEGER NOT NULL,
    first INTEGER NOT NULL,
    address BLOB NOT NULL,
    last INTEGER NOT NULL,
    endpoint TEXT NOT NULL,
    PRIMARY KEY (protocol, family, first, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX publish_range ON publish (protocol, family, first) WHERE last > first;

-- AUTOINCREMENT: whoever ends an entry of a dead process must not hit a later one under the same number.
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    object TEXT NOT NULL,
    verb TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;

CREATE TABLE sysctl (
    key TEXT PRIMARY KEY,
    before TEXT NOT NULL,
    after TEXT NOT NULL
) STRICT, WITHOUT ROWID;
