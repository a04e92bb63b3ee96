#include "storage/connection.hpp"

#include <libpq-fe.h>

#include <fmt/format.h>

namespace mailherd::store {

namespace {

/// The rights of this role do for everything the node does, and row-level security holds for it (FORCE: also for the owner of the tables).
constexpr const char* unprivileged_role = "mailherd_app";

/// Length of the UTF-8 sequence at `s`, 0 if it is none (overlong, surrogate, cut off).
std::size_t sequence_at(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const auto b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xC2 && b < 0xE0) return tail(1) ? 2 : 0;
  if (b >= 0xE0 && b < 0xF0) {
    const bool good = tail(1) && tail(2) && !(b == 0xE0 && byte(1) < 0xA0) && !(b == 0xED && byte(1) >= 0xA0);
    return good ? 3 : 0;
  }
  if (b >= 0xF0 && b < 0xF5) {
    const bool good = tail(1) && tail(2) && tail(3) && !(b == 0xF0 && byte(1) < 0x90) && !(b == 0xF4 && byte(1) >= 0x90);
    return good ? 4 : 0;
  }
  return 0;
}

template <class Values, class Add>
std::string join(const Values& values, Add add) {
  std::string out = "{";
  for (const auto& v : values) {
    if (out.size() > 1) out += ',';
    add(out, v);
  }
  return out += '}';
}

/// The first line without "ERROR:": what follows it can hold values of rows.
std::string first_line(std::string_view text) {
  if (const auto at = text.find("ERROR:  "); at == 0) text.remove_prefix(8);
  return clean_text(text.substr(0, std::min(text.find('\n'), std::size_t{200})));
}

std::string setting_of(scope who) { return who.only ? std::to_string(who.only.value) : std::string("*"); }

failure failure_of(std::string_view sqlstate) {
  const auto starts = [&](std::string_view prefix) { return sqlstate.substr(0, prefix.size()) == prefix; };
  // Connection lost, resources short, server stopping or a standby, deadlock or serialization: repeating may help.
  if (starts("08") || starts("53") || starts("57P") || starts("40") || starts("25006") || starts("58")) return failure::store_unavailable;
  if (starts("57014") || starts("55P03")) return failure::timed_out;   // statement_timeout, lock_timeout
  if (starts("23505")) return failure::conflict;
  return failure::store_failed;
}

}  // namespace

std::string clean_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const auto n = text.front() == '\0' ? 0 : sequence_at(text);
    if (n == 0) {
      out += "\xEF\xBF\xBD";
      text.remove_prefix(1);
    } else {
      out.append(text.substr(0, n));
      text.remove_prefix(n);
    }
  }
  return out;
}

std::string array_of(const std::vector<std::int64_t>& values) {
  return join(values, [](std::string& out, std::int64_t v) { out += std::to_string(v); });
}

std::string array_of(const std::vector<std::optional<std::int64_t>>& values) {
  return join(values, [](std::string& out, const auto& v) { out += v ? std::to_string(*v) : "NULL"; });
}

std::string array_of(const std::vector<std::string>& values) {
  return join(values, [](std::string& out, const std::string& v) {
    out += '"';
    for (const char c : clean_text(v)) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  });
}

std::string with_limits(const std::string& url) {
  char* why = nullptr;
  PQconninfoOption* given = PQconninfoParse(url.c_str(), &why);
  if (given == nullptr) {
    if (why != nullptr) PQfreemem(why);
    return url;   // connecting says what is wrong with it
  }
  std::string out;
  const auto set = [&](std::string_view key, std::string_view value) {
    out += fmt::format("{}='", key);
    for (const char c : value) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    out += "' ";
  };
  const std::pair<const char*, const char*> limits[] = {{"connect_timeout", "5"}, {"keepalives_idle", "10"}, {"keepalives_interval", "5"},
                                                        {"keepalives_count", "3"}, {"tcp_user_timeout", "15000"}, {"application_name", "mailherd"}};
  for (const auto* o = given; o->keyword != nullptr; ++o)
    if (o->val != nullptr) set(o->keyword, o->val);
  for (const auto& [key, value] : limits) {
    bool has = false;
    for (const auto* o = given; o->keyword != nullptr; ++o)
      if (std::string_view(o->keyword) == key) has = o->val != nullptr;
    if (!has) set(key, value);
  }
  PQconninfoFree(given);
  return out;
}

void never_reconnect(pqxx::connection_base& link) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"   // deprecated because pqxx 7 never reconnects; 6 does
  link.inhibit_reactivation(true);
#pragma GCC diagnostic pop
}

connection::connection(const std::string& url) : link_(with_limits(url)) {
  never_reconnect(link_);
  link_.set_verbosity(pqxx::connection_base::terse);
  work_ = std::make_unique<pqxx::nontransaction>(link_);
  // A node that is frozen between two statements holds its channels' and tenants' rows: mail of other nodes waits for them. No transaction here waits for
  // anything but the database and a processor, so that one which is idle for seconds is such a one, and loses nothing that it would not have repeated.
  work_->exec(
      "SET client_min_messages = warning; SET TimeZone = 'UTC'; SET statement_timeout = '60s'; SET lock_timeout = '20s';"
      "SET idle_in_transaction_session_timeout = '5s'; SET synchronous_commit = on; SET bytea_output = hex; SET jit = off");
  const auto rights = work_->exec("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user");
  if (!rights.empty() && rights[0][0].as<bool>()) work_->exec(fmt::format("SET ROLE {}", unprivileged_role));
}

result<std::unique_ptr<connection>> connection::open(const std::string& url) {
  try {
    return std::unique_ptr<connection>(new connection(url));
  } catch (...) {
    bool broken = false;
    auto e = describe_exception(broken);
    if (e.code != failure::store_failed) e.code = failure::store_unavailable;
    return fail(std::move(e));
  }
}

void connection::prepare(const sql::query& q) {
  if (!prepared_.insert(&q).second) return;
  link_.prepare(q.name, q.text);
}

result<void> connection::execute(const std::string& text) {
  return transact({}, [&]() -> result<void> {
    work_->exec(text);
    return {};
  });
}

std::string connection::quoted(const std::string& identifier) { return link_.quote_name(identifier); }

void connection::begin(scope who) {
  work_->exec(fmt::format("BEGIN; SET LOCAL mailherd.tenant = '{}'", setting_of(who)));
  in_transaction_ = true;
}

/// No statement relies on what was set before it: each comes through here or through begin().
void connection::speak_for(scope who) {
  auto wanted = setting_of(who);
  if (wanted == session_scope_) return;
  session_scope_.clear();   // unknown, if this fails
  work_->exec(fmt::format("SET mailherd.tenant = '{}'", wanted));
  session_scope_ = std::move(wanted);
}

void connection::commit() {
  in_transaction_ = false;
  work_->exec("COMMIT");
}

void connection::rollback() {
  in_transaction_ = false;
  work_->exec("ROLLBACK");
}

error connection::failed() noexcept {
  auto e = describe_exception(broken_);
  if (!broken_ && in_transaction_) {
    try {
      rollback();
    } catch (...) {
      broken_ = true;
    }
  }
  in_transaction_ = false;
  return e;
}

error connection::describe_exception(bool& broken) {
  try {
    throw;
  } catch (const pqxx::broken_connection& e) {
    broken = true;
    return {failure::store_unavailable, first_line(e.what()), {}};
  } catch (const pqxx::sql_error& e) {
    // A server that stops sends 57P01 and closes; pqxx knows of it only at the next use.
    const auto f = failure_of(e.sqlstate());
    if (e.sqlstate().empty() || e.sqlstate().substr(0, 3) == "57P" || e.sqlstate().substr(0, 2) == "08") broken = true;
    return {e.sqlstate().empty() ? failure::store_unavailable : f, fmt::format("{} ({})", first_line(e.what()), e.sqlstate()), {}};
  } catch (const std::exception& e) {
    broken = true;
    return {failure::store_failed, first_line(e.what()), {}};
  } catch (...) {
    broken = true;
    return {failure::store_failed, "an unknown exception", {}};
  }
}

}  // namespace mailherd::store
