// Configuration: each source, which one wins, and the one line that each mistake gets.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <unistd.h>

#include "core/limits.hpp"
#include "node/config.hpp"
#include "tests/peers/files.hpp"

namespace mailherd::node {
namespace {

class config_test : public ::testing::Test {
 protected:
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }
  result<config> load(const std::string& toml, std::vector<std::string> environment = {}, layer flags = {}) {
    std::vector<const char*> pointers;
    for (const auto& e : environment) pointers.push_back(e.c_str());
    pointers.push_back(nullptr);
    return node::load(toml.empty() ? "" : file("m.toml", toml), pointers.data(), flags);
  }
  /// The error line, with the test's own directory taken out.
  std::string wrong(const std::string& toml, std::vector<std::string> environment = {}, layer flags = {}) {
    const auto c = load(toml, std::move(environment), std::move(flags));
    if (c) return "accepted";
    EXPECT_EQ(c.error().code, failure::invalid_input);
    auto line = c.error().detail;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    const auto path = directory_.path().string() + "/";
    for (auto at = line.find(path); at != std::string::npos; at = line.find(path)) line.erase(at, path.size());
    return line;
  }
  static layer flag(const std::string& name, const std::string& value) { return {{name, {value, flag_of(name)}}}; }

  peers::temp_dir directory_{"mh-config"};
};

TEST_F(config_test, nothing_given_is_the_contract_s_defaults) {
  const auto c = load("");
  ASSERT_TRUE(c) << c.error().detail;
  EXPECT_TRUE(c->database_url.empty());
  EXPECT_EQ(c->data_dir, "./mailherd-data");
  EXPECT_EQ(c->listen, "127.0.0.1:8080");
  EXPECT_EQ(c->metrics_listen, "127.0.0.1:9464");
  EXPECT_EQ(c->public_url, "");
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  EXPECT_EQ(c->node_name, host);
  EXPECT_TRUE(c->admin_tokens.empty());
  EXPECT_TRUE(c->master_key.empty());
  EXPECT_EQ(c->ca_file, "");
  EXPECT_EQ(c->private_targets, "");
  EXPECT_FALSE(c->json_logs);
  EXPECT_EQ(c->log_level, actors::log_level::info);
  EXPECT_EQ(c->lease_ttl, seconds(15));
  EXPECT_EQ(c->poll_interval, limits::poll_interval);
  EXPECT_FALSE(c->allow_plaintext);
  EXPECT_EQ(c->retention_days, 0);
  EXPECT_EQ(c->where("listen"), "listen (default)");
}

TEST_F(config_test, every_default_passes_its_own_check) {
  for (const auto& s : settings()) {
    config c;
    EXPECT_EQ(s.fallback.empty() ? "" : s.apply(c, s.fallback), "") << s.name;
  }
}

TEST_F(config_test, one_name_has_three_spellings) {
  EXPECT_EQ(variable_of("lease_ttl"), "MAILHERD_LEASE_TTL");
  EXPECT_EQ(flag_of("lease_ttl"), "--lease-ttl");
  EXPECT_EQ(load("lease_ttl = '7s'")->lease_ttl, seconds(7));
  EXPECT_EQ(load("", {"MAILHERD_LEASE_TTL=7s"})->lease_ttl, seconds(7));
  EXPECT_EQ(load("", {}, flag("lease_ttl", "7s"))->lease_ttl, seconds(7));
}

TEST_F(config_test, file_then_environment_then_flags) {
  const std::string toml = "listen = '127.0.0.1:1'\nnode_name = 'file'\nmax_channels = 7\n";
  const auto c = load(toml, {"MAILHERD_LISTEN=127.0.0.1:2", "MAILHERD_NODE_NAME=environment"}, flag("listen", "127.0.0.1:3"));
  ASSERT_TRUE(c);
  EXPECT_EQ(c->listen, "127.0.0.1:3");
  EXPECT_EQ(c->where("listen"), "listen (--listen)");
  EXPECT_EQ(c->node_name, "environment");
  EXPECT_EQ(c->where("node_name"), "node_name (MAILHERD_NODE_NAME)");
  EXPECT_EQ(c->max_channels, 7u);
  EXPECT_EQ(c->where("max_channels"), "max_channels (" + (directory_ / "m.toml").string() + ":3)");
}

TEST_F(config_test, values_of_a_file_may_have_their_own_type) {
  const auto c =
      load("allow_plaintext = true\nmax_channels = 12\nprivate_targets = ['10.0.0.0/8', 'mail.internal']\nmaster_key = '''\na\nb\n'''\n");
  ASSERT_TRUE(c) << c.error().detail;
  EXPECT_TRUE(c->allow_plaintext);
  EXPECT_EQ(c->max_channels, 12u);
  EXPECT_EQ(c->private_targets, "10.0.0.0/8,mail.internal");
  EXPECT_EQ(c->master_key.reveal(), "a\nb\n");
}

TEST_F(config_test, the_environment_may_name_the_file) {
  const auto path = file("named.toml", "node_name = 'named'");
  EXPECT_EQ(load("", {"MAILHERD_CONFIG=" + path})->node_name, "named");
  EXPECT_EQ(load("node_name = 'flag'", {"MAILHERD_CONFIG=" + path})->node_name, "flag");
}

TEST_F(config_test, secrets_may_come_from_files) {
  const auto token = file("token", "one\r\n\ntwo\n");
  const auto key = file("key", "k1:abc\n");
  const auto c = load("admin_token_file = '" + token + "'", {"MAILHERD_MASTER_KEY_FILE=" + key});
  ASSERT_TRUE(c) << c.error().detail;
  ASSERT_EQ(c->admin_tokens.size(), 2u) << "one token a line";
  EXPECT_EQ(c->admin_tokens[0].reveal(), "one");
  EXPECT_EQ(c->admin_tokens[1].reveal(), "two");
  EXPECT_EQ(c->master_key.reveal(), "k1:abc\n");
}

TEST_F(config_test, a_secret_and_its_file_are_one_setting) {
  const auto token = file("token", "from-file\n");
  // The later source wins whichever of the two spellings it uses.
  EXPECT_EQ(load("admin_token_file = '" + token + "'", {"MAILHERD_ADMIN_TOKEN=direct"})->admin_tokens.at(0).reveal(), "direct");
  EXPECT_EQ(load("admin_token = 'direct'", {"MAILHERD_ADMIN_TOKEN_FILE=" + token})->admin_tokens.at(0).reveal(), "from-file");
  EXPECT_EQ(wrong("", {"MAILHERD_ADMIN_TOKEN=direct", "MAILHERD_ADMIN_TOKEN_FILE=" + token}),
            "admin_token (MAILHERD_ADMIN_TOKEN) and admin_token_file (MAILHERD_ADMIN_TOKEN_FILE) are both given: leave one out");
}

TEST_F(config_test, empty_variables_count_as_not_given) {
  EXPECT_EQ(load("", {"MAILHERD_LISTEN=", "MAILHERD_DATABASE_URL=", "MAILHERD_CONFIG="})->listen, "127.0.0.1:8080");
}

TEST_F(config_test, variables_that_kubernetes_adds_for_services_are_passed_over) {
  EXPECT_TRUE(load(
      "", {"MAILHERD_SERVICE_HOST=10.0.0.1", "MAILHERD_SERVICE_PORT=8080", "MAILHERD_SERVICE_PORT_HTTP=8080",
           "MAILHERD_PORT=tcp://10.0.0.1:8080", "MAILHERD_PORT_8080_TCP=tcp://10.0.0.1:8080", "MAILHERD_PORT_8080_TCP_PROTO=tcp",
           "MAILHERD_PORT_8080_TCP_PORT=8080", "MAILHERD_PORT_8080_TCP_ADDR=10.0.0.1", "MAILHERD_METRICS_PORT_9464_TCP_ADDR=10.0.0.2"}));
  EXPECT_NE(wrong("", {"MAILHERD_PORT=8080"}), "accepted") << "a port alone is somebody's mistake";
}

TEST_F(config_test, unknown_keys_are_errors_that_name_the_nearest) {
  EXPECT_EQ(wrong("listen = '127.0.0.1:1'\nlistne = 'x'\n"), "m.toml:2: unknown key \"listne\": did you mean listen?");
  EXPECT_EQ(wrong("[section]\nlisten = 'x'\n"), "m.toml:1: unknown key \"section\": mailherd node --help lists them all");
  EXPECT_EQ(wrong("", {"MAILHERD_LISTN=x"}), "MAILHERD_LISTN: unknown variable: did you mean MAILHERD_LISTEN?");
  EXPECT_EQ(wrong("", {"MAILHERD_listen=x"}), "MAILHERD_listen: unknown variable: did you mean MAILHERD_LISTEN?");
  EXPECT_EQ(wrong("", {"MAILHERD_PLUGH_XYZZY=x"}), "MAILHERD_PLUGH_XYZZY: unknown variable: mailherd node --help lists them all");
  EXPECT_TRUE(load("", {"OTHER=x", "MAILHERD=x"}));
}

struct mistake {
  std::string name, value, line;
};

TEST_F(config_test, every_wrong_value_gets_its_line) {
  const std::vector<mistake> all{
      {"listen", "8080", "\"8080\" is not an address and a port, like 127.0.0.1:8080 or [::1]:8080"},
      {"listen", "127.0.0.1:70000", "\"127.0.0.1:70000\" is not an address and a port, like 127.0.0.1:8080 or [::1]:8080"},
      {"listen", "::1:80", "\"::1:80\" is not an address and a port, like 127.0.0.1:8080 or [::1]:8080"},
      {"metrics_listen", "off", "\"off\" is not an address and a port, like 127.0.0.1:8080 or [::1]:8080"},
      {"public_url", "mail.acme.test", "\"mail.acme.test\" does not begin with http:// or https://"},
      {"node_name", "a/b", "a node's name has at most 253 letters, digits, dots, hyphens and underscores"},
      {"private_targets", "10.0.0.0/33", "\"10.0.0.0/33\": the prefix must be 0 to 32; write for example 10.0.0.0/8,mail.internal or all"},
      {"allow_plaintext", "maybe", "\"maybe\" is neither true nor false"},
      {"log_format", "xml", "\"xml\" is neither text nor json"},
      {"log_level", "loud", "\"loud\" is not a level: debug, info, warning, error"},
      {"lease_ttl", "15", "\"15\" is not a time from 3s to 10m: write a number and its unit, like 90s, 5m, 12h, 30d"},
      {"lease_ttl", "1s", "\"1s\" is not a time from 3s to 10m: write a number and its unit, like 90s, 5m, 12h, 30d"},
      {"lease_ttl", "99999999999999999d",
       "\"99999999999999999d\" is not a time from 3s to 10m: write a number and its unit, like 90s, 5m, 12h, 30d"},
      {"retention", "6d", "\"6d\" is not a time from 7d to 36500d: write a number and its unit, like 90s, 5m, 12h, 30d, or forever"},
      {"max_channels", "many", "\"many\" is not a whole number from 1 to 10000000"},
      {"storage_workers", "0", "\"0\" is not a whole number from 1 to 64"},
      {"storage_workers", "-1", "\"-1\" is not a whole number from 1 to 64"},
      {"database_url", "db.acme.test", "it is not a database URL, like postgresql://user:password@host:5432/mailherd"},
      {"admin_token", "two words", "a token may hold no blanks and only ASCII characters; make one with: openssl rand -hex 32"},
  };
  for (const auto& m : all) {
    EXPECT_EQ(wrong("", {variable_of(m.name) + "=" + m.value}), m.name + " (" + variable_of(m.name) + "): " + m.line);
    EXPECT_EQ(wrong("", {}, flag(m.name, m.value)), m.name + " (" + flag_of(m.name) + "): " + m.line);
    EXPECT_EQ(wrong("# a comment\n" + m.name + " = '" + m.value + "'"), m.name + " (m.toml:2): " + m.line);
  }
}

TEST_F(config_test, what_is_wrong_with_a_file_is_said_with_its_line) {
  EXPECT_EQ(wrong("listen = \n").substr(0, 9), "m.toml:1:");
  EXPECT_EQ(wrong("listen = 'a\n").substr(0, 9), "m.toml:1:");
  EXPECT_EQ(wrong("a = 1\na = 2\n").substr(0, 9), "m.toml:2:");
  EXPECT_EQ(wrong("listen = 1.5"), "m.toml:1: listen: the value must be a text, a number, true or false, or a list of texts");
  EXPECT_EQ(wrong("listen = []"), "m.toml:1: listen: the value must be a text, a number, true or false, or a list of texts");
  EXPECT_EQ(wrong("listen = ''"), "m.toml:1: listen is empty: give a value or leave the line out");
  EXPECT_EQ(wrong("", {}, flag("listen", "")), "listen (--listen) is empty");
  const char* nothing[] = {nullptr};
  const auto missing = node::load(directory_ / "none.toml", nothing, {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().detail, "--config: " + (directory_ / "none.toml").string() + " cannot be read: No such file or directory");
  const auto directory = node::load(directory_.path(), nothing, {});
  ASSERT_FALSE(directory);
  EXPECT_NE(directory.error().detail.find("cannot be read"), std::string::npos) << directory.error().detail;
}

TEST_F(config_test, what_is_wrong_with_a_secret_s_file_is_said_with_its_source) {
  const auto blank = file("blank", " \n");
  EXPECT_EQ(wrong("", {"MAILHERD_ADMIN_TOKEN_FILE=" + blank}), "admin_token_file (MAILHERD_ADMIN_TOKEN_FILE): blank is empty");
  EXPECT_EQ(wrong("", {"MAILHERD_MASTER_KEY_FILE=" + (directory_ / "none").string()}),
            "master_key_file (MAILHERD_MASTER_KEY_FILE): none cannot be read: No such file or directory");
  const auto huge = file("huge", std::string(limits::secret_file_bytes + 1, 'x'));
  EXPECT_EQ(wrong("", {"MAILHERD_MASTER_KEY_FILE=" + huge}), "master_key_file (MAILHERD_MASTER_KEY_FILE): huge is larger than 64 KiB");
  EXPECT_EQ(wrong("", {"MAILHERD_ADMIN_TOKEN_FILE=" + file("words", "two words\n")}),
            "admin_token (words by MAILHERD_ADMIN_TOKEN_FILE): a token may hold no blanks and only ASCII characters; make one with: "
            "openssl rand -hex 32");
}

TEST_F(config_test, a_secret_on_the_command_line_is_warned_about) {
  EXPECT_EQ(load("", {"MAILHERD_ADMIN_TOKEN=x"})->warning, "");
  EXPECT_EQ(load("", {}, flag("admin_token", "x"))->warning,
            "node was given --admin-token on its command line, where every user of this machine can read it");
}

TEST_F(config_test, no_mistake_shows_a_secret) {
  const std::string canary = "canary-7f3a";
  for (const auto& s : settings()) {
    if (s.is != setting::kind::secret) continue;
    for (const std::string& value : {canary + " " + canary, canary, canary + "\x01"})
      EXPECT_EQ(wrong("", {variable_of(s.name) + "=" + value}).find(canary), std::string::npos) << s.name;
  }
}

TEST_F(config_test, whoever_asks_for_something_near_is_told) {
  EXPECT_EQ(nearest("--listn", {"--listen", "--lease-ttl"}), "--listen");
  EXPECT_EQ(nearest("--colour", {"--listen", "--lease-ttl"}), "");
  EXPECT_EQ(nearest("", {"a"}), "a");
}

/// The table and docs/configuration.md say the same.
TEST(configuration_document, names_every_setting_with_its_default) {
  std::ifstream in(std::string(MAILHERD_SOURCE_DIR) + "/docs/configuration.md");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  ASSERT_FALSE(text.empty());
  std::size_t rows = 0;
  for (const auto& s : settings()) {
    const auto row = text.find("\n| `" + std::string(s.name) + "` | ");
    ASSERT_NE(row, std::string::npos) << s.name;
    const auto line = text.substr(row + 1, text.find('\n', row + 1) - row - 1);
    EXPECT_NE(line.find(s.fallback.empty() ? "| none |" : "| `" + s.fallback + "` |"), std::string::npos) << line;
  }
  for (auto at = text.find("\n| `"); at != std::string::npos; at = text.find("\n| `", at + 1)) ++rows;
  EXPECT_EQ(rows, settings().size()) << "a row that is no setting";
}

}  // namespace
}  // namespace mailherd::node
