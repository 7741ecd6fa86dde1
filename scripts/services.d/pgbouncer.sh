# PgBouncer for the tests, in two versions: that of Debian 12, which does not keep prepared statements, and a later one that does.
# Sourced by scripts/services.

# The path of PgBouncer, in the version of Debian's package.
pgbouncer_path() {
  local candidate=/usr/sbin/pgbouncer
  if [[ ! -x $candidate ]]; then
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null ||
      die "the tests of the pooler need PgBouncer: install the package pgbouncer, or run this as root on Debian"
    say "installing Debian's PgBouncer"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends pgbouncer; } >"$cache/apt-pgbouncer.log" 2>&1 ||
      { tail -n 5 "$cache/apt-pgbouncer.log" >&2; die "Debian's PgBouncer could not be installed (see $cache/apt-pgbouncer.log)"; }
  fi
  echo "$candidate"
}

# Whether the version is 1.21 or later.
pgbouncer_keeps_statements() {
  local version
  version=$("$1" --version | sed -n 's/^PgBouncer 1\.\([0-9]*\).*/\1/p')
  [[ -n $version && $version -ge 21 ]]
}

# The path of a PgBouncer that keeps prepared statements. Debian 12 has none, so the source of Debian 13 is built, once.
pgbouncer_keeping_path() {
  local installed to="$cache/pgbouncer" log="$cache/pgbouncer.log"
  installed=$(pgbouncer_path)
  if pgbouncer_keeps_statements "$installed"; then
    echo "$installed"
    return
  fi
  if [[ ! -x $to/pgbouncer ]]; then
    say "building Debian 13's PgBouncer"
    rm -rf "$to.new"
    mkdir -p "$to.new/lists/partial"
    build_pgbouncer "$to.new" >"$log" 2>&1 || { tail -n 5 "$log" >&2; die "PgBouncer could not be built (see $log)"; }
    rm -rf "$to"
    mkdir "$to"
    mv "$to.new"/pgbouncer-*/pgbouncer "$to/"
    rm -rf "$to.new"
  fi
  echo "$to/pgbouncer"
}

# Builds in the folder $1, with a separate list of sources, so that the list of the machine is not changed.
build_pgbouncer() {
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg options
  [[ $(id -u) != 0 ]] || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends gcc make pkgconf libevent-dev libssl-dev dpkg-dev || return
  echo "deb-src [signed-by=$keyring] http://deb.debian.org/debian trixie main" >"$1/sources.list"
  options=(-o Dir::Etc::sourcelist="$1/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists="$1/lists"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update || return
  (cd "$1" && apt-get "${options[@]}" source --download-only pgbouncer && tar xf pgbouncer_*.orig.tar.gz &&
    cd pgbouncer-*/ && ./configure --without-cares && make -j2)
}

# Starts a PgBouncer in front of the PostgreSQL on port $postgres_port. $1: its name; $2: the program; then lines of its settings.
start_pgbouncer() {
  local name=$1 program=$2 port
  shift 2
  port=$(free_port)
  # The other user may not be able to access a private checkout.
  mkdir "$postgres_data/$name"
  cp "$program" "$postgres_data/$name/pgbouncer"
  {
    printf '[databases]\n* = host=127.0.0.1 port=%s user=postgres\n[pgbouncer]\n' "$postgres_port"
    printf '%s\n' "listen_addr = 127.0.0.1" "listen_port = $port" "unix_socket_dir =" "auth_type = any" \
      "max_client_conn = 1000" "default_pool_size = 20" "pidfile = $postgres_data/$name/pid" "$@"
  } >"$postgres_data/$name/settings.ini"
  [[ $(id -u) != 0 ]] || chown -R "$database_user" "$postgres_data/$name"
  (cd / && as_database_user "$postgres_data/$name/pgbouncer" "$postgres_data/$name/settings.ini") >"$run/$name.log" 2>&1 &
  wait_for "PgBouncer" "$run/$name.log" node -e \
    "require('net').connect($port,'127.0.0.1').on('connect',()=>process.exit(0)).on('error',()=>process.exit(1))"
  cp "$postgres_data/$name/pid" "$run/$name.pid"
  echo "export LASTLIGHT_TEST_${name^^}_URL=postgresql://postgres:postgres@127.0.0.1:$port/postgres"
}

start_pgbouncers() {
  local debians keeping
  debians=$(pgbouncer_path)
  keeping=$(pgbouncer_keeping_path)
  start_pgbouncer pgbouncer_session "$debians" "pool_mode = session"
  if pgbouncer_keeps_statements "$debians"; then
    start_pgbouncer pgbouncer_losing "$debians" "pool_mode = transaction" "max_prepared_statements = 0"
  else
    start_pgbouncer pgbouncer_losing "$debians" "pool_mode = transaction"
  fi
  start_pgbouncer pgbouncer_keeping "$keeping" "pool_mode = transaction" "max_prepared_statements = 200"
}
