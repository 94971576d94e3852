#!/bin/bash
# Of the official image's contract: CASSANDRA_CLUSTER_NAME, …_DC, …_RACK, …_ENDPOINT_SNITCH, …_NUM_TOKENS, MAX_HEAP_SIZE, JVM_OPTS,
# /etc/cassandra/cassandra.yaml, "cassandra -f".
set -euo pipefail
[ "${1:-}" = cassandra ] || exec "$@"
address=$(hostname -i)
address=${address%% *}
entry() { [ -z "$2" ] || { sed -i "/^$1:/d" "$CASSANDRA_CONF/cassandra.yaml"; echo "$1: $2" >>"$CASSANDRA_CONF/cassandra.yaml"; }; }
entry listen_address "$address"
entry broadcast_rpc_address "$address"
entry cluster_name "${CASSANDRA_CLUSTER_NAME:-}"
entry endpoint_snitch "${CASSANDRA_ENDPOINT_SNITCH:-}"
entry num_tokens "${CASSANDRA_NUM_TOKENS:-}"
sed -i "s/seeds: .*}/seeds: \"$address\"}/" "$CASSANDRA_CONF/cassandra.yaml"
printf 'dc=%s\nrack=%s\n' "${CASSANDRA_DC:-datacenter1}" "${CASSANDRA_RACK:-rack1}" >"$CASSANDRA_CONF/cassandra-rackdc.properties"
install -d -o cassandra -g cassandra /var/lib/cassandra
heap=${MAX_HEAP_SIZE:-1024M}
# shellcheck disable=SC2086 - several options in one variable
exec setpriv --reuid=cassandra --regid=cassandra --init-groups java -Xms"$heap" -Xmx"$heap" -XX:+UseG1GC -Xss512k \
  -XX:MaxDirectMemorySize=512m -XX:+ExitOnOutOfMemoryError -Djdk.attach.allowAttachSelf=true \
  -Dio.netty.tryReflectionSetAccessible=true @"$CASSANDRA_CONF/java.options" -Dcassandra.storagedir=/var/lib/cassandra \
  -Dcassandra.config="file://$CASSANDRA_CONF/cassandra.yaml" -Dlogback.configurationFile="$CASSANDRA_CONF/logback.xml" \
  -Dcassandra-foreground=yes -Dcassandra.superuser_setup_delay_ms=0 ${JVM_OPTS:-} \
  -cp "$CASSANDRA_CONF:/opt/cassandra/lib/*" org.apache.cassandra.service.CassandraDaemon
