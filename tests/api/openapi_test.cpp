// docs/openapi.yaml tells the truth: every route is in it and nothing else, and every object is what the API really gives.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "api/model_json.hpp"
#include "api/openapi.hpp"
#include "api/problem.hpp"
#include "api/routes.hpp"
#include "core/limits.hpp"

namespace mailherd::api {
namespace {

const YAML::Node& document() {
  static const YAML::Node root = YAML::LoadFile(MAILHERD_SOURCE_DIR "/docs/openapi.yaml");
  return root;
}

YAML::Node resolve(YAML::Node node) {
  while (node.IsMap() && node["$ref"]) {
    std::stringstream path(node["$ref"].as<std::string>().substr(2));
    YAML::Node at = YAML::Clone(document());
    for (std::string part; std::getline(path, part, '/');) at.reset(at[part]);
    node.reset(at);
  }
  return node;
}

/// Checks a value against the part of JSON Schema the document uses; unknown members are errors. Notes the properties it met.
class checker {
 public:
  void check(YAML::Node schema, const out_json& value, const std::string& path) {
    schema.reset(resolve(schema));
    if (schema["oneOf"]) return one_of(schema["oneOf"], value, path);
    const auto properties = all_properties(schema);
    if (schema["type"]) check_type(schema["type"], value, path);
    if (schema["enum"]) {
      bool found = false;
      for (const auto& e : schema["enum"]) found |= value.is_string() && e.as<std::string>() == value.get<std::string>();
      EXPECT_TRUE(found) << path << " is " << value.dump();
    }
    if (value.is_object()) {
      for (const auto& name : required(schema)) EXPECT_TRUE(value.contains(name)) << path << "." << name << " is promised and missing";
      for (const auto& [name, member] : value.items()) {
        EXPECT_TRUE(properties.contains(name)) << path << "." << name << " is not documented";
        if (!properties.contains(name)) continue;
        met.insert(path + "." + name);
        check(properties.at(name), member, path + "." + name);
      }
      for (const auto& [name, unused] : properties) documented.insert(path + "." + name);
    }
    if (value.is_array() && schema["items"])
      for (const auto& item : value) check(schema["items"], item, path + "[]");
  }

  std::set<std::string> met, documented;

 private:
  std::map<std::string, YAML::Node> all_properties(YAML::Node schema) {
    std::map<std::string, YAML::Node> all;
    schema.reset(resolve(schema));
    for (const auto& part : schema["allOf"])
      for (const auto& [name, node] : all_properties(part)) all.insert_or_assign(name, node);   // the later part tells more of it
    for (const auto& p : schema["properties"]) all.insert({p.first.as<std::string>(), p.second});
    return all;
  }
  std::set<std::string> required(YAML::Node schema) {
    std::set<std::string> all;
    schema.reset(resolve(schema));
    for (const auto& part : schema["allOf"]) all.merge(required(part));
    for (const auto& name : schema["required"]) all.insert(name.as<std::string>());
    return all;
  }
  void one_of(const YAML::Node& choices, const out_json& value, const std::string& path) {
    for (auto choice : choices) {
      const auto resolved = resolve(choice);
      const bool wants_null = resolved["type"] && resolved["type"].IsScalar() && resolved["type"].as<std::string>() == "null";
      if (wants_null == value.is_null()) return check(resolved, value, path);
    }
    ADD_FAILURE() << path << " fits none of its forms";
  }
  void check_type(const YAML::Node& type, const out_json& value, const std::string& path) {
    const auto fits = [&](const std::string& t) {
      return (t == "string" && value.is_string()) || (t == "integer" && value.is_number_integer()) ||
             (t == "number" && value.is_number()) || (t == "boolean" && value.is_boolean()) || (t == "object" && value.is_object()) ||
             (t == "array" && value.is_array()) || (t == "null" && value.is_null());
    };
    bool ok = type.IsScalar() && fits(type.as<std::string>());
    if (type.IsSequence())
      for (const auto& t : type) ok |= fits(t.as<std::string>());
    EXPECT_TRUE(ok) << path << " has the wrong type: " << value.dump();
  }
};

/// All samples fit the schema, and together they show every property it promises.
void expect_schema(const std::string& name, const std::vector<out_json>& samples) {
  checker c;
  for (const auto& sample : samples) c.check(document()["components"]["schemas"][name], sample, name);
  for (const auto& property : c.documented) EXPECT_TRUE(c.met.contains(property)) << property << " is documented and never given";
}

TEST(openapi, is_what_the_program_serves) {
  std::ifstream in(MAILHERD_SOURCE_DIR "/docs/openapi.yaml", std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_EQ(openapi_document(), text.str());
  EXPECT_EQ(document()["openapi"].as<std::string>(), "3.1.0");
}

TEST(openapi, has_every_route_and_no_other) {
  std::set<std::string> documented, real;
  for (const auto& path : document()["paths"])
    for (const auto& operation : path.second)
      if (const auto verb = operation.first.as<std::string>(); verb != "parameters")
        documented.insert(verb + " " + path.first.as<std::string>());
  for (const auto& r : routes()) {
    std::string verb(to_string(r.method));
    for (auto& ch : verb) ch = static_cast<char>(std::tolower(ch));
    real.insert(verb + " " + std::string(r.path));
  }
  EXPECT_EQ(documented, real);
}

TEST(openapi, knows_parameters_bodies_and_tokens_of_every_route) {
  for (const auto& r : routes()) {
    std::string verb(to_string(r.method));
    for (auto& ch : verb) ch = static_cast<char>(std::tolower(ch));
    const auto where = verb + " " + std::string(r.path);
    const auto path = document()["paths"][std::string(r.path)];
    const auto operation = path[verb];
    std::set<std::string> query, in_path, wanted_path;
    bool idempotent = false;
    for (const auto& list : {path["parameters"], operation["parameters"]}) {
      for (auto p : list) {
        const auto parameter = resolve(p);
        const auto place = parameter["in"].as<std::string>(), name = parameter["name"].as<std::string>();
        if (place == "query") query.insert(name);
        if (place == "path") in_path.insert(name);
        idempotent |= place == "header" && name == "Idempotency-Key";
      }
    }
    EXPECT_EQ(query, (std::set<std::string>(r.query.begin(), r.query.end()))) << where;
    for (auto at = r.path.find('{'); at != std::string_view::npos; at = r.path.find('{', at + 1))
      wanted_path.insert(std::string(r.path.substr(at + 1, r.path.find('}', at) - at - 1)));
    EXPECT_EQ(in_path, wanted_path) << where;
    EXPECT_EQ(static_cast<bool>(operation["requestBody"]), r.body != body_rule::none) << where;
    EXPECT_EQ(operation["security"] && operation["security"].size() == 0, r.who == access::open) << where;
    const bool writes = r.method == verb::post || r.method == verb::put || r.method == verb::patch;
    EXPECT_EQ(idempotent, writes && r.who != access::open && !r.once) << where;
    EXPECT_TRUE(operation["operationId"] && operation["summary"]) << where;
  }
}

TEST(openapi, has_the_limits_of_the_program) {
  const auto limit = document()["components"]["parameters"]["limit"]["schema"];
  EXPECT_EQ(limit["maximum"].as<std::size_t>(), limits::api_page_items);
  EXPECT_EQ(limit["default"].as<std::size_t>(), limits::api_page_default);
  std::string states;
  for (const auto& s : document()["components"]["schemas"]["ChannelState"]["enum"])
    states += (states.empty() ? "" : ", ") + s.as<std::string>();
  EXPECT_EQ(states, names_of<channel_state>());
}

TEST(openapi, tenants_keys_and_apps) {
  expect_schema("Tenant", {to_json(tenant_record{{3}, "Acme", {}, {}})});
  expect_schema("ApiKey", {to_json(store::api_key_record{{1}, "k", {}, wall_time{}}), to_json(store::api_key_record{{1}, "k", {}, {}})});
  oauth_app app;
  app.id = {1};
  app.tenant = {3};
  app.scopes = {"offline_access"};
  auto ending = app;
  ending.secret_expires_at = wall_time{};
  expect_schema("OauthApp", {to_json(app), to_json(ending)});
  EXPECT_TRUE(to_json(app)["advice"].is_null());
  EXPECT_NE(to_json(ending)["advice"].get<std::string>().find("expired"), std::string::npos);
  expect_schema("AppSetup", {to_json(actors::app_setup{"https://m.test/oauth2/callback", "https://login.test", {"line"}, {"note"}})});
}

TEST(openapi, channels) {
  channel_record basic, oauth2;
  basic.id = {1};
  basic.tenant = {3};
  basic.spec.incoming.proxy = proxy_settings{proxy_kind::socks5, "p", 1080, "u", secret<>(std::string("canary"))};
  basic.backfill_done = 1;
  basic.backfill_total = 2;
  basic.last_success_at = basic.token_expires_at = wall_time{};
  oauth2.auth = auth_type::oauth2;
  oauth2.app = {7};
  oauth2.spec.incoming.protocol = protocol_kind::pop3;
  oauth2.state = channel_state::backoff;
  oauth2.state_reason = "login_rejected";
  expect_schema("Channel", {to_json(basic), to_json(oauth2)});
  EXPECT_EQ(dump(to_json(basic)).find("canary"), std::string::npos);
  store::consent device;
  device.flow = store::consent_flow::device;
  device.hidden = secret<>(std::string("canary"));
  expect_schema("Consent", {to_json(device), to_json(store::consent{})});
  EXPECT_EQ(dump(to_json(device)).find("canary"), std::string::npos);
}

TEST(openapi, messages) {
  store::stored_message imap, pop3;
  imap.id = {{3}, 7};
  imap.envelope.from = imap.envelope.to = imap.envelope.cc = {{"n", "a@b.test"}};
  imap.envelope.references = imap.envelope.in_reply_to = {"x@y"};
  imap.envelope.date = wall_time{};
  imap.envelope.automatic = "list";
  pop3 = imap;
  pop3.source.protocol = protocol_kind::pop3;
  pop3.has_body = false;
  pop3.envelope.automatic.clear();
  pop3.problem = "too large";
  expect_schema("Message", {to_json(imap), to_json(pop3)});
  auto detail = to_json(imap), other = to_json(pop3);
  const std::string raw = "A: 1\r\n continued\r\nbroken line\r\nB:2\r\n\r\nbody";
  const std::string report = "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n"
                             "Reporting-MTA: dns; h\r\n\r\nFinal-Recipient: rfc822; a@b.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--b--\r\n";
  mime::content content;
  content.attachments = {{0, "", "text/plain", "", "", true, 4}};
  content.notes = {"note"};
  content.text = "new\n> old\n";
  content.html = "<p>x</p>";
  add_content(detail, raw, content);
  add_content(other, "", {});
  auto bounce = to_json(imap);
  add_content(bounce, report, mime::parse_content(report));
  expect_schema("MessageDetail", {detail, other, bounce});
  EXPECT_EQ(bounce["automatic"]["recipients"][0]["address"], "a@b.test");
  EXPECT_EQ(detail["headers"].dump(), R"([{"name":"A","value":"1 continued"},{"name":"B","value":"2"}])");
}

TEST(openapi, problems_events_reports_and_nodes) {
  expect_schema("Problem", {out_json::parse(invalid_fields({{"a", "b"}}).body), out_json::parse(not_found().body),
                            out_json::parse(unavailable("x", 1).body)});
  expect_schema("ChannelEvent", {to_json(store::channel_event{{1}, {}, "state", "active", "", "", "node n"})});
  actors::test_report report;
  report.steps = {{"dns", false, milliseconds(1), "d", "a", failure::dns_failed}};
  expect_schema("TestReport", {to_json(report)});
  expect_schema("Node", {to_json(store::node_record{"n", "1", "active", 1, 0.5})});
}

TEST(openapi, webhooks_and_deliveries) {
  store::webhook_record plain, troubled;
  troubled.spec.channels = {{7}};
  troubled.spec.max_per_second = 5;
  troubled.open_until = troubled.failing_since = troubled.old_secret_until = wall_time{};
  troubled.disabled_reason = "410";
  expect_schema("Webhook", {to_json(plain), to_json(troubled)});
  store::delivery_record test, dead;
  test.kind = store::event_kind::test;
  test.state = "pending";
  dead.state = "dead";
  dead.channel = {7};
  dead.status = 500;
  dead.error = dead.request = dead.response = "x";
  expect_schema("Delivery", {to_json(test), to_json(dead), to_json(tenant_id{3}, store::stall_record{})});
}

TEST(advice, is_there_when_a_person_can_do_something) {
  channel_record c;
  c.state = channel_state::active;
  EXPECT_TRUE(advice_of(c).is_null());
  c.switching = switch_state::failed;
  c.switch_error = "login_rejected: no";
  EXPECT_NE(advice_of(c).get<std::string>().find("earlier ones keep serving"), std::string::npos);
  c.switching = switch_state::none;
  c.state = channel_state::consent_pending;
  EXPECT_NE(advice_of(c).get<std::string>().find("Connect"), std::string::npos);
  c.state = channel_state::needs_reauth;
  c.state_reason = "consent_required";
  EXPECT_NE(advice_of(c).get<std::string>().find("sign in again"), std::string::npos);
  c.state_reason = "a_reason_of_a_newer_version";
  EXPECT_TRUE(advice_of(c).is_null());
}

}  // namespace
}  // namespace mailherd::api
