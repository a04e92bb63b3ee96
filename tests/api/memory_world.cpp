// The world in memory, and what only it can show: the store down, full, losing jobs.
#include <gtest/gtest.h>

#include "protocol/mime/mime.hpp"
#include "tests/api/fake_store.hpp"
#include "tests/api/world.hpp"

namespace mailherd::test {

namespace {

class memory_world final : public world {
 public:
  store::executor& store() override { return executor_; }
  void deliver(tenant_id tenant, channel_id channel, const std::string& raw) override {
    const std::lock_guard lock(executor_.guard);
    auto& feed = executor_.admin.mail[tenant];
    store::stored_message m;
    m.id = {tenant, static_cast<std::int64_t>(feed.size()) + 1};
    m.channel = channel;
    m.sequence = 1 + std::count_if(feed.begin(), feed.end(), [&](const auto& other) { return other.first.channel == channel; });
    m.size = raw.size();
    m.envelope = mime::parse_envelope(raw);
    m.source = {protocol_kind::imap, "INBOX", {1}, {static_cast<std::uint32_t>(m.sequence)}, ""};
    feed.emplace_back(m, raw);
  }

 private:
  fake_executor executor_;
};

const char* const tenant_body = R"({"name":"Acme"})";

}  // namespace

std::unique_ptr<world> make_world() { return std::make_unique<memory_world>(); }

TEST(api_faults, a_database_that_is_down_is_503_and_nothing_of_it_is_told) {
  fake_executor store;
  api_under_test api(store);
  store.down = true;
  auto r = api.call("GET", "/v1/tenants");
  EXPECT_EQ(r.status, 503);
  EXPECT_NE(r.header("retry-after"), "");
  EXPECT_EQ(r.body.find("10.0.0.1"), std::string::npos);
  EXPECT_EQ(api.call("GET", "/readyz", {}, "").status, 503);
  EXPECT_EQ(api.call("GET", "/healthz", {}, "").status, 200);
  EXPECT_EQ(api.call("GET", "/v1/tenants", {}, "mhk_x").status, 503) << "not 401: the key may be good";
  store.down = false;
  EXPECT_EQ(api.call("GET", "/v1/tenants").status, 200);
}

TEST(api_faults, a_full_queue_and_a_dropped_job_are_503) {
  fake_executor store;
  api_under_test api(store);
  store.full = true;
  EXPECT_EQ(api.call("GET", "/v1/tenants").status, 503);
  store.full = false;
  store.drops = true;
  EXPECT_EQ(api.call("GET", "/v1/tenants").status, 503);
}

TEST(api_faults, an_idempotency_key_of_a_request_that_failed_for_a_while_is_free_again) {
  fake_executor store;
  api_under_test api(store);
  const std::map<std::string, std::string> key = {{"Idempotency-Key", "k"}};
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", tenant_body));
  const std::string body =
      R"({"name":"x","incoming":{"protocol":"imap","host":"h.test"},"auth":{"type":"basic","username":"u","password":"p"}})";
  api.control.busy = true;
  EXPECT_EQ(api.call("POST", "/v1/tenants/" + tenant + "/test-connection", body, operator_token, key).status, 503);
  api.control.busy = false;
  EXPECT_EQ(api.call("POST", "/v1/tenants/" + tenant + "/test-connection", body, operator_token, key).status, 200);
}

TEST(api_faults, known_keys_are_not_looked_up_for_every_request) {
  fake_executor store;
  api_under_test api(store);
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", tenant_body));
  const std::string key = api.call("POST", "/v1/tenants/" + tenant + "/api-keys", R"({"name":"k"})").json()["key"];
  for (int i = 0; i < 5; ++i) EXPECT_EQ(api.call("GET", "/v1/tenants/" + tenant, {}, key).status, 200);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(api.call("GET", "/v1/tenants/" + tenant, {}, "mhk_wrong").status, 401);
  const std::lock_guard lock(store.guard);
  EXPECT_LE(store.admin.key_lookups, 4) << "one each, and one more if five seconds passed";
}

TEST(api_faults, an_edit_that_meets_another_is_merged_into_it) {
  fake_executor store;
  api_under_test api(store);
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", tenant_body));
  const auto path =
      "/v1/tenants/" + tenant + "/channels/" +
      api.id_of(
          api.call("POST", "/v1/tenants/" + tenant + "/channels",
                   R"({"name":"x","incoming":{"protocol":"imap","host":"h.test"},"auth":{"type":"basic","username":"u","password":"p"}})"));
  const auto edits_between = [&](int n) {
    const std::lock_guard lock(store.guard);
    store.admin.edits_between = n;
  };
  edits_between(1);
  const auto merged = api.call("PATCH", path, R"({"name":"mine"})").json();
  EXPECT_EQ(merged["name"], "mine");
  EXPECT_EQ(merged["address"], "changed@between.test");
  edits_between(100);
  EXPECT_EQ(api.call("PATCH", path, R"({"name":"again"})").status, 409);
}

TEST(api_faults, another_node_is_drained_through_its_row_and_a_lost_one_not_at_all) {
  fake_executor store;
  api_under_test api(store);
  EXPECT_EQ(api.call("POST", "/v1/cluster/nodes/there/drain").status, 409);
  const auto asked = api.call("POST", "/v1/cluster/nodes/third/drain");
  EXPECT_EQ(asked.status, 202);
  EXPECT_EQ(asked.json()["state"], "draining");
  const std::lock_guard lock(store.guard);
  EXPECT_EQ(store.admin.draining, std::vector<std::string>{"third"});
}

TEST(api_faults, a_channel_is_moved_to_a_node_that_is_there) {
  memory_world world;
  auto& store = static_cast<fake_executor&>(world.store());
  api_under_test api(store);
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", tenant_body));
  const auto channel = api.id_of(
      api.call("POST", "/v1/tenants/" + tenant + "/channels",
               R"({"name":"x","incoming":{"protocol":"imap","host":"h.test"},"auth":{"type":"basic","username":"u","password":"p"}})"));
  const auto path = "/v1/tenants/" + tenant + "/channels/" + channel + "/move";
  const auto moved = api.call("POST", path, R"({"node":"third"})");
  EXPECT_EQ(moved.status, 202) << moved.body;
  EXPECT_EQ(moved.json()["node"], "third");
  EXPECT_EQ(api.call("POST", path, R"({"node":"nobody"})").status, 404);
  EXPECT_EQ(api.call("POST", path, R"({"node":"there"})").status, 409);
  EXPECT_EQ(api.call("POST", path, R"({})").status, 422);
  EXPECT_EQ(api.call("POST", path, R"({"node":"third","when":"now"})").status, 422);
  EXPECT_EQ(api.call("POST", "/v1/tenants/" + tenant + "/channels/c999/move", R"({"node":"third"})").status, 404);
}

TEST(api_faults, a_slow_reader_of_a_large_message_holds_no_worker) {
  memory_world world;
  auto& store = static_cast<fake_executor&>(world.store());
  api_under_test api(store);
  const auto tenant = api.id_of(api.call("POST", "/v1/tenants", tenant_body));
  world.deliver(*parse_id<tenant_id>(tenant), {1}, "Subject: x\r\n\r\n" + std::string(40 * limits::mib, 'x'));
  http_connection slow(api.server->port());
  slow.write("GET /v1/tenants/" + tenant + "/messages/m" + tenant.substr(1) + "-1/raw HTTP/1.1\r\nHost: t\r\nAuthorization: Bearer " +
             std::string(operator_token) + "\r\n\r\n");
  ASSERT_TRUE(slow.read_some());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(api.call("GET", "/v1/tenants").status, 200) << "the only worker is free";
  {
    const std::lock_guard lock(store.guard);
    EXPECT_LT(store.admin.body_reads, 15) << "windows are read as the client takes them";
  }
  EXPECT_EQ(slow.read_reply().body.size(), 40 * limits::mib + 14);
}

}  // namespace mailherd::test
