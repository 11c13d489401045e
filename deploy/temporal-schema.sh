#!/bin/sh
# Makes and updates Temporal's two databases. Safe to run again: what is there stays. SQL_PASSWORD is the tool's own variable.
set -eu

schema() {
  tool="temporal-sql-tool --plugin postgres12 --endpoint ${POSTGRES_HOST} --port 5432 --user ${POSTGRES_USER} --database $1"
  $tool create-database
  $tool setup-schema --version 0.0
  $tool update-schema --schema-dir "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

schema temporal temporal
schema temporal_visibility visibility
