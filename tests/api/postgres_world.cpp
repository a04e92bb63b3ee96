// The world on PostgreSQL: the API over real workers, mail stored by the commit that fetchers use; and what only a real database can show.
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "protocol/mime/mime.hpp"
#include "storage/mail_store.hpp"
#include "storage/postgres.hpp"
#include "tests/api/world.hpp"
#include "tests/storage/postgres_fixture.hpp"

namespace mailherd::test {

namespace {

class postgres_world final : public world {
 public:
  postgres_world() : link_(database_.connect()), mail_(*link_, *keys_, 0, 14) {
    store::postgres::options how;
    how.url = database_.url();
    how.workers = 2;
    how.keys = keys_;
    // News may come before the test has its API, and at any time on the listener's thread.
    how.on_feed = [this](tenant_id tenant) {
      const std::lock_guard lock(guard_);
      ++news_;
      if (on_feed_) on_feed_(tenant);
      changed_.notify_all();
    };
    auto made = store::postgres::open(std::move(how));
    if (!made) throw std::runtime_error(describe(made.error()));
    executor_ = std::move(*made);
    // The listener is there when it has told everybody to look once.
    std::unique_lock lock(guard_);
    changed_.wait_for(lock, seconds(30), [this] { return news_ > 0; });
  }
  ~postgres_world() override { executor_.reset(); }

  store::executor& store() override { return *executor_; }

  void deliver(tenant_id tenant, channel_id channel, const std::string& raw) override {
    store::commit_unit unit;
    unit.guard = hold(tenant, channel);
    unit.folder = "INBOX";
    store::incoming_message m;
    m.source = {protocol_kind::imap, "INBOX", {1}, {++last_uid_}, ""};
    m.size = raw.size();
    m.digest.fill(static_cast<std::uint8_t>(last_uid_));
    m.envelope = mime::parse_envelope(raw);
    if (raw.size() <= limits::inline_message_bytes) {
      m.body = std::make_shared<const std::string>(raw);
    } else {
      m.blob = chunks(unit.guard, raw);
    }
    unit.messages.push_back(std::move(m));
    const auto done = mail_.commit({unit});
    if (!done || !done->front().status || done->front().stored != 1) throw std::runtime_error("the message was not stored");
  }

  /// From now on told of new mail, as the node's hub does.
  void on_feed(std::function<void(tenant_id)> wake) {
    const std::lock_guard lock(guard_);
    on_feed_ = std::move(wake);
  }
  const test_database& database() const { return database_; }
  /// All channels there are.
  std::vector<store::lease_guard> leases() {
    if (!life_.id) life_ = mail_.join("here", "test", seconds(600), 100).value();
    return mail_.claim(life_, 1'000).value();
  }

 private:
  store::lease_guard hold(tenant_id tenant, channel_id channel) {
    if (!life_.id) life_ = mail_.join("here", "test", seconds(600), 100).value();
    const auto claimed = mail_.claim(life_, 1'000).value();
    for (const auto& g : claimed) held_[g.channel] = g;
    if (!held_.contains(channel) || held_[channel].tenant != tenant) throw std::runtime_error("the channel cannot be claimed");
    return held_[channel];
  }
  blob_id chunks(const store::lease_guard& guard, const std::string& raw) {
    const auto blob = mail_.new_blob(guard).value();
    for (std::size_t at = 0; at < raw.size(); at += limits::chunk_bytes)
      if (!mail_.put_chunk(guard, blob, static_cast<std::int32_t>(at / limits::chunk_bytes), raw.substr(at, limits::chunk_bytes)))
        throw std::runtime_error("a chunk was not stored");
    return blob;
  }

  test_database database_;
  std::shared_ptr<const store::keyring> keys_ = test_keys();
  std::unique_ptr<store::connection> link_;
  store::pg_mail_store mail_;
  store::mail_store::incarnation life_;
  std::map<channel_id, store::lease_guard> held_;
  std::uint32_t last_uid_ = 0;
  std::mutex guard_;
  std::condition_variable changed_;
  int news_ = 0;
  std::function<void(tenant_id)> on_feed_;
  std::unique_ptr<store::executor> executor_;
};

const std::string channel_body = R"({"name":"x","incoming":{"protocol":"imap","host":"h.test"},"auth":{"type":"basic","username":"u","password":"p"}})";

}  // namespace

std::unique_ptr<world> make_world() { return std::make_unique<postgres_world>(); }

TEST(api_on_postgres, a_commit_wakes_a_waiting_reader_through_the_database) {
  postgres_world world;
  api_under_test api(world.store());
  world.on_feed([&](tenant_id t) { api.server->wake(t); });
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
  const auto channel = api.id_of(api.call("POST", "/v1/tenants/" + tenant + "/channels", channel_body));
  const auto start = mono_clock::now();
  http_connection reader(api.server->port());
  reader.write("GET /v1/tenants/" + tenant + "/messages?wait=30 HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " + std::string(operator_token) + "\r\n\r\n");
  world.deliver(*parse_id<tenant_id>(tenant), *parse_id<channel_id>(channel), "Subject: x\r\n\r\nbody");
  EXPECT_EQ(reader.read_reply().json()["items"].size(), 1U);
  EXPECT_LT(mono_clock::now() - start, seconds(20));
  world.on_feed(nullptr);
}

/// Events of a stream as far as they have come: ids in order.
std::vector<std::string> ids_of(const std::string& text) {
  std::vector<std::string> ids;
  for (std::size_t at = text.find("\nid: "); at != std::string::npos; at = text.find("\nid: ", at + 1)) ids.push_back(text.substr(at + 5, text.find('\n', at + 1) - at - 5));
  return ids;
}

TEST(api_on_postgres, a_stream_follows_the_feed_and_goes_on_after_the_last_event_seen) {
  postgres_world world;
  api_under_test api(world.store());
  world.on_feed([&](tenant_id t) { api.server->wake(t); });
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
  const auto channel = api.id_of(api.call("POST", "/v1/tenants/" + tenant + "/channels", channel_body));
  const auto mail = [&] { world.deliver(*parse_id<tenant_id>(tenant), *parse_id<channel_id>(channel), "Subject: x\r\n\r\nbody"); };
  const auto follow = [&](http_connection& c, const std::string& query, const std::string& header = "") {
    c.write("GET /v1/tenants/" + tenant + "/messages/stream" + query + " HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " + std::string(operator_token) + "\r\n" + header + "\r\n");
  };
  mail();
  http_connection first(api.server->port());
  follow(first, "");
  std::string seen;
  const auto until = [&](http_connection& c, std::size_t n) {
    while (ids_of(seen).size() < n)
      if (!c.read_some()) return false;
      else seen += c.taken();
    return true;
  };
  ASSERT_TRUE(until(first, 1)) << seen;
  EXPECT_NE(seen.find("Content-Type: text/event-stream"), std::string::npos) << seen;
  mail();
  mail();
  ASSERT_TRUE(until(first, 3)) << seen;
  EXPECT_EQ(ids_of(seen), (std::vector<std::string>{"1", "2", "3"}));
  EXPECT_NE(seen.find("event: message.received\ndata: {\"id\":\"m"), std::string::npos) << seen;

  http_connection again(api.server->port());
  seen.clear();
  follow(again, "?after=0", "Last-Event-ID: 2\r\n");
  ASSERT_TRUE(until(again, 1));
  EXPECT_EQ(ids_of(seen), std::vector<std::string>{"3"});
  http_connection late(api.server->port());
  seen.clear();
  follow(late, "?since=9999-12-31T00:00:00Z");
  while (seen.find("retry: ") == std::string::npos && late.read_some()) seen += late.taken();
  mail();
  ASSERT_TRUE(until(late, 1));
  EXPECT_EQ(ids_of(seen), std::vector<std::string>{"4"});
  EXPECT_EQ(api.call("GET", "/v1/tenants/" + tenant + "/messages?since=1980-01-01T00:00:00Z").json()["items"].size(), 4U);
  EXPECT_EQ(api.call("GET", "/v1/tenants/" + tenant + "/messages/stream?after=x").status, 400);
  EXPECT_EQ(api.call("GET", "/v1/tenants/t999/messages/stream").status, 404);
  api.server->stop();
  EXPECT_TRUE(first.closed_by_peer()) << "a node that stops ends its streams";
  world.on_feed(nullptr);
}

TEST(api_on_postgres, with_eight_writers_each_follower_sees_each_message_once_and_in_order) {
  postgres_world world;
  api_under_test api(world.store());
  world.on_feed([&](tenant_id t) { api.server->wake(t); });
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
  std::vector<channel_id> channels;
  for (int i = 0; i < 8; ++i) channels.push_back(*parse_id<channel_id>(api.id_of(api.call("POST", "/v1/tenants/" + tenant + "/channels", channel_body))));
  constexpr int each = 25;
  const auto leases = world.leases();
  std::vector<std::thread> threads;
  for (const auto& guard : leases)
    threads.emplace_back([&world, guard] {
      const auto own = world.database().connect();
      store::pg_mail_store mine(*own, *test_keys(), 0, 14);
      for (int i = 0; i < each; ++i) {
        store::commit_unit u;
        u.guard = guard;
        u.folder = "INBOX";
        u.messages.resize(static_cast<std::size_t>(1 + (guard.channel.value + i) % 3));
        for (std::size_t n = 0; n < u.messages.size(); ++n) {
          u.messages[n].source = {protocol_kind::imap, "INBOX", {1}, {static_cast<std::uint32_t>(i * 10 + static_cast<int>(n) + 1)}, ""};
          u.messages[n].size = 1;
          u.messages[n].body = std::make_shared<const std::string>("x");
        }
        if (!mine.commit({u})) ADD_FAILURE();
      }
    });
  // Followers who are cut off and go on with the last event they have seen.
  std::vector<std::vector<std::string>> seen(3);
  for (std::size_t f = 0; f < seen.size(); ++f)
    threads.emplace_back([&, f] {
      std::size_t wanted = 0;
      for (const auto& guard : leases)
        for (int i = 0; i < each; ++i) wanted += static_cast<std::size_t>(1 + (guard.channel.value + i) % 3);
      while (seen[f].size() < wanted) {
        http_connection c(api.server->port());
        const auto last = seen[f].empty() ? std::string() : "Last-Event-ID: " + seen[f].back() + "\r\n";
        c.write("GET /v1/tenants/" + tenant + "/messages/stream HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " + std::string(operator_token) + "\r\n" + last + "\r\n");
        std::string text;
        while (ids_of(text).size() < 40 + 30 * f && seen[f].size() + ids_of(text).size() < wanted)
          if (!c.read_some()) return ADD_FAILURE() << "nothing comes any more";
          else text += c.taken();
        text = text.substr(0, text.rfind("\n\n") + 1);
        for (const auto& id : ids_of(text)) seen[f].push_back(id);
      }
    });
  for (auto& t : threads) t.join();
  for (const auto& ids : seen)
    for (std::size_t i = 0; i < ids.size(); ++i) ASSERT_EQ(ids[i], std::to_string(i + 1));
  world.on_feed(nullptr);
}

TEST(api_on_postgres, webhooks_are_made_changed_tested_and_removed) {
  postgres_world world;
  api_under_test api(world.store());
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
  const auto path = "/v1/tenants/" + tenant + "/webhooks";
  const auto made = api.call("POST", path, R"({"url":"https://h.test/x","events":["message.received","channel.state_changed"]})", operator_token, {{"Idempotency-Key", "k"}});
  EXPECT_EQ(made.status, 201);
  const auto signing = made.json()["secret"].get<std::string>();
  EXPECT_TRUE(signing.starts_with("whsec_"));
  const auto again = api.call("POST", path, R"({"url":"https://h.test/x","events":["message.received","channel.state_changed"]})", operator_token, {{"Idempotency-Key", "k"}});
  EXPECT_EQ(again.json()["id"], made.json()["id"]);
  EXPECT_TRUE(again.json()["secret"].is_null()) << "shown once";
  EXPECT_EQ(world.database().query("SELECT count(*) FROM idempotency_keys WHERE position('" + signing + "' IN body) > 0"), "0");
  const auto one = path + "/" + api.id_of(made);
  EXPECT_EQ(api.call("GET", one).json().contains("secret"), false);
  EXPECT_EQ(api.call("PATCH", one, R"({"channels":["c1"],"body":"raw","max_per_second":5})").json()["max_per_second"], 5);
  EXPECT_EQ(api.call("PATCH", one, R"({"max_per_second":null})").json()["max_per_second"], nullptr);
  EXPECT_EQ(api.call("PATCH", one, R"({"url":"ftp://x","events":["a"],"channels":["x"],"body":"b","nonsense":1})").json()["errors"].size(), 5U);
  EXPECT_EQ(api.call("POST", path, R"({"url":"http://far.test/"})").status, 422) << "http only to this machine";
  const auto asked = api.call("POST", one + "/test");
  EXPECT_EQ(asked.status, 202);
  const auto listed = api.call("GET", one + "/deliveries").json()["items"];
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0]["state"], "pending");
  EXPECT_EQ(listed[0]["id"], asked.json()["delivery"]);
  EXPECT_EQ(api.call("POST", one + "/deliveries/" + listed[0]["id"].get<std::string>() + "/retry").status, 409);
  EXPECT_EQ(api.call("GET", one + "/deliveries?state=retrying").json()["items"].size(), 0U);
  EXPECT_EQ(api.call("POST", one + "/replay", R"({"after":"0"})").json()["after"], "0");
  EXPECT_EQ(api.call("POST", one + "/replay", R"({})").status, 422);
  EXPECT_NE(api.call("POST", one + "/rotate-secret", "{}").json()["secret"], signing);
  EXPECT_EQ(api.call("GET", path).json()["items"].size(), 1U);
  EXPECT_EQ(api.call("DELETE", one).status, 204);
  EXPECT_EQ(api.call("GET", one).status, 404);
}

TEST(api_on_postgres, the_limit_of_channels_is_a_409_in_words) {
  postgres_world world;
  api_under_test api(world.store());
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Small","limits":{"max_channels":1}})"));
  const auto path = "/v1/tenants/" + tenant + "/channels";
  EXPECT_EQ(api.call("POST", path, channel_body).status, 201);
  const auto r = api.call("POST", path, channel_body);
  EXPECT_EQ(r.status, 409);
  EXPECT_NE(r.json()["detail"].get<std::string>().find("max_channels"), std::string::npos) << r.body;
}

TEST(api_on_postgres, a_deleted_channel_takes_its_mail_out_of_the_feed_and_leaves_the_numbers_alone) {
  postgres_world world;
  api_under_test api(world.store());
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
  const auto path = "/v1/tenants/" + tenant;
  const auto make = [&] { return api.id_of(api.call("POST", path + "/channels", channel_body)); };
  const auto a = make(), b = make();
  const auto t = *parse_id<tenant_id>(tenant);
  world.deliver(t, *parse_id<channel_id>(a), "Subject: a\r\n\r\n");
  world.deliver(t, *parse_id<channel_id>(b), "Subject: b\r\n\r\n");
  EXPECT_EQ(api.call("DELETE", path + "/channels/" + a).status, 204);
  world.deliver(t, *parse_id<channel_id>(b), "Subject: b\r\n\r\n");
  const auto items = api.call("GET", path + "/messages").json()["items"];
  ASSERT_EQ(items.size(), 2U);
  EXPECT_EQ(items[0]["id"], "m" + tenant.substr(1) + "-2");
  EXPECT_EQ(items[1]["id"], "m" + tenant.substr(1) + "-3");
  EXPECT_EQ(api.call("GET", path + "/messages/m" + tenant.substr(1) + "-1").status, 404);
}

TEST(api_on_postgres, nothing_secret_stands_in_the_database_in_clear) {
  postgres_world world;
  api_under_test api(world.store());
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", R"({"name":"Acme"})"));
  const auto path = "/v1/tenants/" + tenant;
  const auto key = api.call("POST", path + "/api-keys", R"({"name":"k"})", operator_token, {{"Idempotency-Key", "one"}}).json()["key"].get<std::string>();
  api.call("POST", path + "/oauth-apps", R"({"name":"a","provider":"microsoft","client_id":"i","client_secret":"canary-1"})", operator_token,
           {{"Idempotency-Key", "two"}});
  api.call("POST", path + "/channels",
           R"({"name":"x","incoming":{"protocol":"imap","host":"h.test","proxy":{"kind":"socks5","host":"p","port":1,"username":"u","password":"canary-2"}},)"
           R"("auth":{"type":"basic","username":"u","password":"canary-3"}})", operator_token, {{"Idempotency-Key", "three"}});
  ASSERT_EQ(world.database().query("SELECT count(*) FROM channels"), "1");
  for (const std::string table : {"tenants", "api_keys", "oauth_apps", "channels", "credentials", "channel_events", "idempotency_keys"})
    for (const auto& canary : {std::string("canary"), key, std::string(operator_token)})
      EXPECT_EQ(world.database().query("SELECT count(*) FROM " + table + " AS r WHERE position('" + canary + "' IN r::text) > 0 OR position(encode('" + canary +
                                       "', 'hex') IN r::text) > 0"), "0")
          << table;
}

}  // namespace mailherd::test
