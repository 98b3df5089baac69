"""The servers of the distributed engine on one machine, for demo, bench and tests.

Kafka, Valkey, ClickHouse's engine behind HTTP, PostgreSQL; a module a product. Not for production: there `compose.yaml`
and the operator's own servers stand in their place. Each server tells product, version and process id, listens on a
random port of the loopback, keeps its data in a folder of its own, dies with its parent, and is ended by its id.
"""
