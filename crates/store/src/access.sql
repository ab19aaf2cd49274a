
-- How many endpoints each bridge of a network has: number 0 is its own, the others are access bridges below it.
CREATE TABLE access (
    network TEXT NOT NULL,
    number INTEGER NOT NULL,
    endpoints INTEGER NOT NULL,
    PRIMARY KEY (network, number)
) STRICT, WITHOUT ROWID;
