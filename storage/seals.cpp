// storage/seals: do these keys fit this database, and sealing anew after a key was added in front.
//
// Owns:   key_check; the list of all sealed columns (`places`): one that is missing there is lost with its old key.
// Never:  changes a value without its row's lock and a look at what it is now: a running node may have rotated it meanwhile.
#include <fmt/format.h>

#include <array>
#include <functional>

#include "queries.hpp"
#include "storage/connection.hpp"
#include "storage/postgres.hpp"
#include "storage/rows.hpp"

namespace mailherd::store::postgres {

namespace {

constexpr const char* check_context = "key_check";
constexpr const char* check_text = "mailherd";

/// Rows read at once; of these the ones to be sealed anew are written in one transaction.
constexpr std::int64_t page_rows = 200;
/// A transaction that met another one in a circle of locks is repeated so often.
constexpr int tries = 5;
/// Nodes that were given the new key while the first pass ran have sealed with the old one until then.
constexpr int passes = 3;

struct row_key {
  std::int64_t tenant = 0, id = 0, generation = 0;
};

/// Rows with up to two sealed values. Each statement takes the row's key as $1 to $3; `page` the last one seen, `put` the new values as well.
struct place {
  const sql::query &page, &lock, &put;
  std::function<std::string(const row_key&, int)> context;   ///< of the first (0) and the second (1) value
  const char* noun;
};

const std::array<place, 5>& places() {
  static const std::array<place, 5> all{{
      {sql::page_of_credentials, sql::lock_sealed_credential, sql::put_sealed_credential,
       [](const row_key& k, int i) { return credential_context({k.tenant}, {k.id}, k.generation, i == 0 ? "password" : "refresh_token"); }, "credential of c"},
      {sql::page_of_apps, sql::lock_sealed_app, sql::put_sealed_app,
       [](const row_key& k, int i) { return app_context({k.tenant}, {k.id}, i == 0 ? "secret" : "key"); }, "OAuth app a"},
      {sql::page_of_next_secrets, sql::lock_next_secret, sql::put_next_secret,
       [](const row_key& k, int) { return app_context({k.tenant}, {k.id}, "next_secret"); }, "second secret of OAuth app a"},
      {sql::page_of_proxies, sql::lock_sealed_proxy, sql::put_sealed_proxy, [](const row_key& k, int) { return proxy_context({k.tenant}, {k.id}); },
       "proxy of c"},
      {sql::page_of_webhooks, sql::lock_sealed_webhook, sql::put_sealed_webhook,
       [](const row_key& k, int i) { return webhook_context({k.tenant}, {k.id}, i == 0 ? "secret" : "old_secret"); }, "webhook w"},
  }};
  return all;
}

class resealer {
 public:
  resealer(connection& link, const keyring& keys) : link_(link), keys_(keys) {}

  result<std::size_t> run() {
    std::size_t all = 0;
    for (int pass = 0; pass < passes; ++pass) {
      std::size_t found = 0;
      unreadable_ = 0;
      for (const auto& p : places()) {
        auto n = go_through(p);
        if (!n) return n;
        found += *n;
      }
      all += found;
      if (unreadable_ > 0) return fail(failure::seal_failed, fmt::format("{} values cannot be opened with these keys, the first: {}", unreadable_, first_));
      if (found == 0) break;
    }
    return all;
  }

 private:
  [[nodiscard]] bool is_old(const pqxx::field& f) const { return !f.is_null() && keyring::id_of(bytes(f)) != keys_.sealing_id(); }

  result<std::size_t> go_through(const place& p) {
    std::size_t all = 0;
    row_key last;
    while (true) {
      const auto rows = link_.once({}, p.page, last.tenant, last.id, last.generation, page_rows);
      if (!rows) return fail(rows.error());
      std::vector<row_key> old;
      for (const auto& row : *rows) {
        last = {row[0].as<std::int64_t>(), row[1].as<std::int64_t>(), row[2].as<std::int64_t>()};
        if (is_old(row[3]) || is_old(row[4])) old.push_back(last);
      }
      auto n = seal_rows(p, old);
      if (!n) return n;
      all += *n;
      if (rows->size() < static_cast<pqxx::result::size_type>(page_rows)) return all;
    }
  }

  result<std::size_t> seal_rows(const place& p, const std::vector<row_key>& keys) {
    if (keys.empty()) return 0;
    for (int i = 1;; ++i) {
      const auto before = unreadable_;
      auto done = link_.transact({}, [&]() -> result<std::size_t> {
        std::size_t n = 0;
        for (const auto& k : keys) n += seal_row(p, k);
        return n;
      });
      if (done || done.error().code != failure::store_unavailable || link_.broken() || i == tries) return done;
      unreadable_ = before;
    }
  }

  std::size_t seal_row(const place& p, const row_key& k) {
    const auto rows = link_.run(p.lock, k.tenant, k.id, k.generation);
    if (rows.empty()) return 0;   // deleted meanwhile
    std::array<nullable, 2> fresh;
    std::size_t n = 0;
    for (int i = 0; i < 2; ++i) {
      const auto field = rows[0][i];
      if (!is_old(field)) continue;
      const auto context = p.context(k, i);
      const auto plain = keys_.open(context, bytes(field));
      if (!plain) {
        if (unreadable_++ == 0) first_ = fmt::format("{}{}: {}", p.noun, k.id, plain.error().detail);
        continue;
      }
      fresh[static_cast<std::size_t>(i)] = sealed_or_null(keys_, context, *plain);
      ++n;
    }
    if (n > 0) link_.run(p.put, k.tenant, k.id, k.generation, fresh[0], fresh[1]);
    return n;
  }

  connection& link_;
  const keyring& keys_;
  std::size_t unreadable_ = 0;
  std::string first_;
};

nullable sealed_check(const keyring& keys) { return sealed_or_null(keys, check_context, secret<>(std::string(check_text))); }

}  // namespace

result<void> check_keys(const std::string& url, const keyring& keys) {
  auto link = connection::open(url);
  if (!link) return fail(link.error());
  return (*link)->transact({}, [&]() -> result<void> {
    auto rows = (*link)->run(sql::get_key_check);
    if (rows.empty()) {
      // Of two nodes that come first with different keys the second one is told.
      (*link)->run(sql::first_key_check, sealed_check(keys));
      rows = (*link)->run(sql::get_key_check);
    }
    const auto opened = keys.open(check_context, bytes(rows[0][0]));
    if (opened && opened->reveal() == check_text) return {};
    return fail(failure::seal_failed, "the database's secrets were sealed with other keys (" + (opened ? "another text" : opened.error().detail) + ")");
  });
}

result<std::size_t> reseal(const std::string& url, const keyring& keys) {
  if (auto fits = check_keys(url, keys); !fits) return fail(fits.error());
  auto link = connection::open(url);
  if (!link) return fail(link.error());
  auto done = resealer(**link, keys).run();
  // Last: until all is sealed anew a node without the old key must be refused.
  if (done)
    if (const auto put = (*link)->once({}, sql::put_key_check, sealed_check(keys)); !put) return fail(put.error());
  return done;
}

}  // namespace mailherd::store::postgres
