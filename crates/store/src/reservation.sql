
-- An address that is put aside in a directory which other programs work in too: a file there bears it. `former` rows are
-- of a boot before, and go with their file. `foreign` ones were seen to be there: their holder may have more.
CREATE TABLE reservation (
    directory TEXT NOT NULL,
    address BLOB NOT NULL,
    container TEXT NOT NULL,
    ifname TEXT NOT NULL,
    former INTEGER NOT NULL DEFAULT 0,
    "foreign" INTEGER NOT NULL,
    PRIMARY KEY (directory, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX reservation_holder ON reservation (directory, container, ifname);
CREATE INDEX reservation_former ON reservation (directory) WHERE former = 1;

-- Which address Linkspan has put aside last in a directory, of its range set `number`.
CREATE TABLE last_reserved (
    directory TEXT NOT NULL,
    number INTEGER NOT NULL,
    address BLOB NOT NULL,
    PRIMARY KEY (directory, number)
) STRICT, WITHOUT ROWID;
