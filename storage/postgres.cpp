#include "storage/postgres.hpp"

#include <libpq-fe.h>

#include <fmt/format.h>

#include "queries.hpp"
#include "storage/admin_store.hpp"
#include "storage/executor.hpp"
#include "storage/listener.hpp"
#include "storage/mail_store.hpp"
#include "storage/migrate.hpp"
#include "storage/pg_webhook_store.hpp"

namespace mailherd::store::postgres {

namespace {

class real_session final : public worker_session {
 public:
  real_session(std::unique_ptr<connection> link, const options& how)
      : keys_(how.keys), link_(std::move(link)), mail_(*link_, *keys_, how.retention_days, how.outbox_days), admin_(*link_, *keys_), webhooks_(*link_, *keys_) {}
  session& stores() override { return stores_; }
  [[nodiscard]] bool broken() const override { return link_->broken(); }

 private:
  std::shared_ptr<const keyring> keys_;
  std::unique_ptr<connection> link_;
  pg_mail_store mail_;
  pg_admin_store admin_;
  pg_webhook_store webhooks_;
  session stores_{mail_, admin_, &webhooks_};
};

class database final : public executor {
 public:
  explicit database(const options& how)
      : pool_({how.workers, how.queue_limit, {how.reconnect_min, how.reconnect_max}}, [how] { return connect(how); }),
        listener_(how.url, {how.on_feed, how.on_channel_changed, how.on_state}) {}
  bool submit(deadline until, job work, bool urgent) override { return pool_.submit(until, std::move(work), urgent); }
  [[nodiscard]] std::size_t queued() const override { return pool_.queued(); }

 private:
  worker_pool pool_;
  listener listener_;   // ends first
};

result<void> check_url(const std::string& url) {
  char* why = nullptr;
  auto* parsed = PQconninfoParse(url.c_str(), &why);
  if (parsed != nullptr) {
    PQconninfoFree(parsed);
    return {};
  }
  if (why != nullptr) PQfreemem(why);   // it repeats the URL, and with it perhaps a password
  return fail(failure::invalid_input, "the database URL cannot be read; it looks like postgresql://user@host:5432/database");
}

}  // namespace

result<std::unique_ptr<worker_session>> connect(const options& how) {
  auto link = connection::open(how.url);
  if (!link) return fail(link.error());
  return std::make_unique<real_session>(std::move(*link), how);
}

result<std::unique_ptr<executor>> open(options how) {
  if (auto good = check_url(how.url); !good) return fail(good.error());
  if (!how.keys) return fail(failure::invalid_input, "no keyring was given");
  return std::make_unique<database>(how);
}

result<void> migrate(const std::string& url) {
  if (auto good = check_url(url); !good) return fail(good.error());
  return run_migrations(url);
}

}  // namespace mailherd::store::postgres
