
-- With rowids: in a table without, rows lie among the keys, a long one spills over to a page of its own, and each of the
-- comparisons on the way to another row reads it whole. Documents are long.
CREATE TABLE network (
    name TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    doc TEXT NOT NULL
) STRICT;

-- `joined` names the sandbox whose namespace this one shares.
CREATE TABLE sandbox (
    name TEXT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    joined TEXT,
    doc TEXT NOT NULL
) STRICT;
CREATE INDEX sandbox_joined ON sandbox (joined, name) WHERE joined IS NOT NULL;
