// What comes in: every field wrong in turn is named, and all of them at once.
#include <gtest/gtest.h>

#include "api/inputs.hpp"
#include "api/rules.hpp"
#include "core/limits.hpp"

namespace mailherd::api {
namespace {

json good_channel() {
  return json::parse(R"({"name":"Support","address":"support@acme.test","enabled":true,
    "incoming":{"protocol":"imap","host":"mail.acme.test","port":993,"tls":"implicit","folder":"INBOX",
                "proxy":{"kind":"socks5","host":"proxy.acme.test","port":1080,"username":"u","password":"p"}},
    "auth":{"type":"basic","username":"support","password":"hush"},"start_from":"now","after_fetch":"keep"})");
}

std::vector<field_error> errors_of(const json& channel) {
  field_errors errors;
  (void)read_channel(channel, false, {}, errors);
  return errors.all();
}

struct wrong_case {
  const char* pointer;  // JSON pointer of what is replaced
  const char* value;    // JSON
  const char* field;    // that must be named
};

class wrong_channel_field : public ::testing::TestWithParam<wrong_case> {};

TEST_P(wrong_channel_field, is_named_alone) {
  auto channel = good_channel();
  channel[json::json_pointer(GetParam().pointer)] = json::parse(GetParam().value);
  const auto errors = errors_of(channel);
  ASSERT_EQ(errors.size(), 1u) << GetParam().pointer << " = " << GetParam().value;
  EXPECT_EQ(errors[0].field, GetParam().field);
  EXPECT_FALSE(errors[0].message.empty());
}

INSTANTIATE_TEST_SUITE_P(
    every_field, wrong_channel_field,
    ::testing::Values(
        wrong_case{"/name", "1", "name"}, wrong_case{"/name", "\"\"", "name"}, wrong_case{"/name", "\"   \"", "name"},
        wrong_case{"/name", "\"a\\u0000b\"", "name"}, wrong_case{"/name", "null", "name"}, wrong_case{"/address", "\"no at\"", "address"},
        wrong_case{"/address", "\"a@b@c\"", "address"}, wrong_case{"/address", "[]", "address"},
        wrong_case{"/enabled", "\"yes\"", "enabled"}, wrong_case{"/enabled", "1", "enabled"},
        wrong_case{"/incoming", "\"imap\"", "incoming"}, wrong_case{"/incoming", "[]", "incoming"},
        wrong_case{"/incoming/protocol", "\"smtp\"", "incoming.protocol"},
        wrong_case{"/incoming/protocol", "\"IMAP\"", "incoming.protocol"}, wrong_case{"/incoming/host", "\"\"", "incoming.host"},
        wrong_case{"/incoming/host", "\"imaps://mail.acme.test\"", "incoming.host"},
        wrong_case{"/incoming/host", "\"mail.acme.test:993\"", "incoming.host"},
        wrong_case{"/incoming/host", "\"mail acme\"", "incoming.host"}, wrong_case{"/incoming/host", "\"-bad.test\"", "incoming.host"},
        wrong_case{"/incoming/host", "\"999.1.1.1\"", "incoming.host"},
        wrong_case{"/incoming/host", "\"m\\u00e4il.test\"", "incoming.host"}, wrong_case{"/incoming/host", "\"[::1]\"", "incoming.host"},
        wrong_case{"/incoming/host", "\"a..b\"", "incoming.host"}, wrong_case{"/incoming/host", "\"mail.test\\r\\nX\"", "incoming.host"},
        wrong_case{"/incoming/port", "0", "incoming.port"}, wrong_case{"/incoming/port", "65536", "incoming.port"},
        wrong_case{"/incoming/port", "993.5", "incoming.port"}, wrong_case{"/incoming/port", "\"993\"", "incoming.port"},
        wrong_case{"/incoming/port", "-1", "incoming.port"}, wrong_case{"/incoming/port", "18446744073709551615", "incoming.port"},
        wrong_case{"/incoming/tls", "\"ssl\"", "incoming.tls"}, wrong_case{"/incoming/tls", "\"none\"", "incoming.tls"},
        wrong_case{"/incoming/folder", "\"\"", "incoming.folder"}, wrong_case{"/incoming/folder", "\"a\\nb\"", "incoming.folder"},
        wrong_case{"/incoming/folder", "7", "incoming.folder"}, wrong_case{"/incoming/prot", "\"imap\"", "incoming.prot"},
        wrong_case{"/incoming/proxy", "\"socks\"", "incoming.proxy"},
        wrong_case{"/incoming/proxy/kind", "\"socks4\"", "incoming.proxy.kind"},
        wrong_case{"/incoming/proxy/host", "\"a/b\"", "incoming.proxy.host"},
        wrong_case{"/incoming/proxy/port", "0", "incoming.proxy.port"},
        wrong_case{"/incoming/proxy/username", "1", "incoming.proxy.username"},
        wrong_case{"/incoming/proxy/password", "\"a\\nb\"", "incoming.proxy.password"},
        wrong_case{"/incoming/proxy/pass", "\"x\"", "incoming.proxy.pass"}, wrong_case{"/auth", "null", "auth"},
        wrong_case{"/auth/type", "\"ntlm\"", "auth.type"}, wrong_case{"/auth/username", "\"\"", "auth.username"},
        wrong_case{"/auth/password", "\"\"", "auth.password"}, wrong_case{"/auth/password", "12345", "auth.password"},
        wrong_case{"/auth/app", "\"a1\"", "auth.app"}, wrong_case{"/start_from", "\"yesterday\"", "start_from"},
        wrong_case{"/start_from", "\"2026-02-30T00:00:00Z\"", "start_from"},
        wrong_case{"/start_from", "\"2026-01-01T00:00:00\"", "start_from"}, wrong_case{"/start_from", "0", "start_from"},
        wrong_case{"/after_fetch", "\"burn\"", "after_fetch"}, wrong_case{"/after_fetch", "true", "after_fetch"},
        wrong_case{"/nmae", "1", "nmae"}, wrong_case{"/id", "\"c1\"", "id"}, wrong_case{"/state", "\"active\"", "state"}));

TEST(channel_input, the_contracts_example_is_taken) {
  field_errors errors;
  const auto in = read_channel(good_channel(), false, {}, errors);
  EXPECT_TRUE(errors.empty());
  EXPECT_EQ(in.spec.incoming.host, "mail.acme.test");
  EXPECT_EQ(in.spec.incoming.proxy->kind, proxy_kind::socks5);
  EXPECT_EQ(in.auth.password.reveal(), "hush");
}

TEST(channel_input, all_wrong_fields_are_named_at_once) {
  const auto errors = errors_of(json::parse(
      R"({"enabled":1,"incoming":{"port":0,"prot":"imap","proxy":{"kind":"x"}},"auth":{"type":"oauth2","grant":"password"},"zzz":1})"));
  std::set<std::string> fields;
  for (const auto& e : errors) fields.insert(e.field);
  EXPECT_EQ(fields,
            (std::set<std::string>{"name", "enabled", "incoming.protocol", "incoming.host", "incoming.port", "incoming.prot",
                                   "incoming.proxy.kind", "incoming.proxy.host", "incoming.proxy.port", "auth.app", "auth.grant", "zzz"}));
}

TEST(channel_input, a_wrong_secret_is_not_repeated_in_the_error) {
  auto channel = good_channel();
  channel["auth"]["password"] = "canary\nsecret";
  for (const auto& e : errors_of(channel)) EXPECT_EQ(e.message.find("canary"), std::string::npos);
}

TEST(channel_input, ports_follow_protocol_and_encryption) {
  const auto port = [](const char* protocol, const char* tls) {
    field_errors errors;
    const json body = {{"name", "n"},
                       {"incoming", {{"protocol", protocol}, {"host", "h.test"}, {"tls", tls}}},
                       {"auth", {{"type", "basic"}, {"username", "u"}, {"password", "p"}}}};
    return read_channel(body, false, {true}, errors).spec.incoming.port;
  };
  EXPECT_EQ(port("imap", "implicit"), 993);
  EXPECT_EQ(port("imap", "starttls"), 143);
  EXPECT_EQ(port("pop3", "implicit"), 995);
  EXPECT_EQ(port("pop3", "none"), 110);
}

TEST(channel_input, oauth2_rules) {
  const auto fields = [](const char* auth) {
    field_errors errors;
    (void)read_auth(json::parse(auth), "auth", errors);
    std::string all;
    for (const auto& e : errors.all()) all += e.field + " ";
    return all;
  };
  EXPECT_EQ(fields(R"({"type":"oauth2","app":"a3","grant":"authorization_code","mailbox":"shared@acme.test","refresh_token":"abc"})"), "");
  EXPECT_EQ(fields(R"({"type":"oauth2","app":"3","grant":"device_code"})"), "auth.app ");
  EXPECT_EQ(fields(R"({"type":"oauth2","app":"a3","grant":"client_credentials","refresh_token":"abc"})"), "auth.refresh_token ");
  EXPECT_EQ(fields(R"({"type":"oauth2","app":"a3","grant":"authorization_code","password":"x"})"), "auth.password ");
  EXPECT_EQ(fields(R"({"type":"oauth2","app":"a3","grant":"authorization_code","refresh_token":"a b"})"), "auth.refresh_token ");
}

channel_spec present() {
  field_errors errors;
  return read_channel(good_channel(), false, {}, errors).spec;
}

channel_spec merged(const char* change, std::string* fields = nullptr) {
  field_errors errors;
  auto spec = merge_channel(json::parse(change), present(), {true}, errors);
  std::string all;
  for (const auto& e : errors.all()) all += e.field + " ";
  if (fields != nullptr)
    *fields = all;
  else
    EXPECT_EQ(all, "");
  return spec;
}

TEST(channel_merge, what_is_not_named_stays) {
  const auto spec = merged(R"({"name":"Sales","incoming":{"proxy":{"port":1081}}})");
  EXPECT_EQ(spec.name, "Sales");
  EXPECT_EQ(spec.address, "support@acme.test");
  EXPECT_EQ(spec.incoming.host, "mail.acme.test");
  EXPECT_EQ(spec.incoming.proxy->port, 1081);
  EXPECT_EQ(spec.incoming.proxy->password.reveal(), "p");
  EXPECT_FALSE(merged(R"({"incoming":{"proxy":null}})").incoming.proxy);
}

TEST(channel_merge, an_unchosen_port_follows_the_protocol_and_a_chosen_one_stays) {
  EXPECT_EQ(merged(R"({"incoming":{"protocol":"pop3","folder":null}})").incoming.port, 995);
  EXPECT_EQ(merged(R"({"incoming":{"tls":"starttls"}})").incoming.port, 143);
  EXPECT_EQ(merged(R"({"incoming":{"tls":"starttls","port":1143}})").incoming.port, 1143);
}

TEST(channel_merge, auth_is_refused_and_says_where_to_go) {
  field_errors errors;
  (void)merge_channel(json::parse(R"({"auth":{"type":"basic"}})"), present(), {}, errors);
  ASSERT_EQ(errors.all().size(), 1u);
  EXPECT_EQ(errors.all()[0].field, "auth");
  EXPECT_NE(errors.all()[0].message.find("PUT"), std::string::npos);
}

TEST(channel_merge, what_does_not_fit_together_is_found_across_old_and_new) {
  std::string fields;
  (void)merged(R"({"after_fetch":"seen","incoming":{"protocol":"pop3"}})", &fields);
  EXPECT_EQ(fields, "after_fetch ");
  (void)merged(R"({"incoming":{"protocol":"pop3","folder":"Archive"}})", &fields);
  EXPECT_EQ(fields, "incoming.folder ");
}

std::string app_errors(const char* app) {
  field_errors errors;
  (void)read_app(json::parse(app), nullptr, {}, errors);
  std::string all;
  for (const auto& e : errors.all()) all += e.field + " ";
  return all;
}

TEST(app_input, every_field) {
  EXPECT_EQ(
      app_errors(
          R"({"name":"n","provider":"microsoft","client_id":"i","client_secret":"s","authority":"common","scopes":["offline_access"]})"),
      "");
  EXPECT_EQ(
      app_errors(
          R"({"name":"n","provider":"custom","client_id":"i","client_secret":"s",
              "authorize_url":"http://localhost:4/a","token_url":"https://idp.test/t"})"),
      "");
  EXPECT_EQ(app_errors("{}"), "name provider client_id client_secret ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"yahoo","client_id":"","client_secret":""})"), "provider client_id client_secret ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"custom","client_id":"i","client_secret":"s"})"), "token_url ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"google","client_id":"i","client_secret":"s","private_key":"k"})"),
            "private_key client_secret ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"google","client_id":"i","private_key":"-----BEGIN X"})"), "certificate ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"google","client_id":"i","private_key":"-----BEGIN X","certificate":"-----BEGIN Y"})"),
            "certificate private_key ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"google","client_id":"i","client_secret":"s","token_url":"http://idp.test/t"})"),
            "token_url ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"google","client_id":"i","client_secret":"s","token_url":"https://u@idp.test/t"})"),
            "token_url ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"google","client_id":"i","client_secret":"s","scopes":["a b",1,"ok"]})"),
            "scopes[0] scopes[1] ");
  EXPECT_EQ(app_errors(R"({"name":"n","provider":"microsoft","client_id":"i","client_secret":"s","authority":"../evil"})"), "authority ");
}

TEST(tenant_input, every_field) {
  const auto fields = [](const char* body) {
    field_errors errors;
    (void)read_tenant(json::parse(body), nullptr, errors);
    std::string all;
    for (const auto& e : errors.all()) all += e.field + " ";
    return all;
  };
  EXPECT_EQ(fields(R"({"name":"Acme","limits":{"max_channels":5}})"), "");
  EXPECT_EQ(fields("{}"), "name ");
  EXPECT_EQ(fields(R"({"name":"x","limits":{"max_channels":-1,"max_message_bytes":1,"max":1}})"),
            "limits.max_channels limits.max_message_bytes limits.max ");
  EXPECT_EQ(fields(R"({"name":"x","limits":[]})"), "limits ");
}

// ---- JSON
// ---------------------------------------------------------------------------------------------------------------------------------

TEST(parse_object, says_where_it_is_malformed) {
  const auto words = [](std::string_view body) {
    const auto r = parse_object(body);
    return r ? std::string("fine") : r.error().detail;
  };
  EXPECT_EQ(words("{}"), "fine");
  EXPECT_NE(words("{\"a\":1,\n \"b\" 2}").find("line 2, column"), std::string::npos);
  EXPECT_NE(words("{\"a\":\"\xFF\"}").find("UTF-8 at line 1, column 7"), std::string::npos);
  EXPECT_NE(words("[1]").find("a list"), std::string::npos);
  EXPECT_NE(words("").find("malformed"), std::string::npos);
  EXPECT_NE(words("{\"a\":1,\"a\":2}").find("\"a\" occurs twice"), std::string::npos);
  EXPECT_NE(words("{\"a\":{\"b\":1,\"b\":2}}").find("\"b\" occurs twice"), std::string::npos);
  EXPECT_EQ(words("{\"a\":{\"b\":1},\"b\":2}"), "fine");
  EXPECT_NE(words(std::string(100'000, '[')).find("inside each other"), std::string::npos);
  EXPECT_EQ(words("{\"a\":\"[[[[[[[[[[[[[[[[[[[[[[\"}"), "fine");
  EXPECT_NE(words("{\"a\":1e999}").find("malformed"), std::string::npos);
  EXPECT_NE(words("{} x").find("malformed"), std::string::npos);
}

// ---- times
// --------------------------------------------------------------------------------------------------------------------------------

TEST(times, are_read_with_any_offset_and_written_in_utc) {
  const auto again = [](const char* text) {
    const auto t = rules::parse_time(text);
    return t ? rules::format_time(*t) : std::string("no");
  };
  EXPECT_EQ(again("2026-01-31T10:20:30Z"), "2026-01-31T10:20:30.000000Z");
  EXPECT_EQ(again("2026-01-31T10:20:30.1234567+02:30"), "2026-01-31T07:50:30.123456Z");
  EXPECT_EQ(again("2024-02-29t00:00:00-00:30"), "2024-02-29T00:30:00.000000Z");
  EXPECT_EQ(again("1970-01-01T00:00:00Z"), "1970-01-01T00:00:00.000000Z");
  for (const char* bad :
       {"", "now", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z",
        "2026-01-01T00:00:00+2", "2026-01-01T00:00:00Zx", "1969-12-31T23:59:59Z", "2026-1-1T00:00:00Z", "1970-01-01T00:00:00+00:01"})
    EXPECT_EQ(again(bad), "no") << bad;
}

}  // namespace
}  // namespace mailherd::api
