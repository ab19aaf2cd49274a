
-- How runtimes call endpoints: each by its own name of the network, the container and the interface.
CREATE TABLE attachment (
    network TEXT NOT NULL,
    container TEXT NOT NULL,
    ifname TEXT NOT NULL,
    endpoint TEXT NOT NULL UNIQUE,
    PRIMARY KEY (network, container, ifname)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_container ON attachment (container);
