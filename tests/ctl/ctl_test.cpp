// `mailherd ctl` against a server of the test's own: exit codes, tables, what reaches the API and what never does.
#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include <deque>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "api/http_server.hpp"
#include "api/problem.hpp"
#include "node/ctl/ctl.hpp"
#include "node/ctl/table.hpp"

namespace mailherd::ctl {
namespace {

// ---- tables
// -------------------------------------------------------------------------------------------------------------------------------

TEST(table, aligns_by_what_the_eye_sees) {
  table t({"ID", "NAME", "N"});
  t.add({{"c1"}, {"J\xC3\xBCrgen"}, {"5", colour::none, true}});
  t.add({{"c10"}, {"\xE6\x97\xA5\xE6\x9C\xAC"}, {"1234", colour::none, true}});
  EXPECT_EQ(t.print(false),
            "ID   NAME       N\n"
            "c1   J\xC3\xBCrgen     5\n"
            "c10  \xE6\x97\xA5\xE6\x9C\xAC    1234\n");
}

TEST(table, knows_widths) {
  EXPECT_EQ(display_width("abc"), 3u);
  EXPECT_EQ(display_width("\xC3\xA9"), 1u);
  EXPECT_EQ(display_width("e\xCC\x81"), 1u) << "a combining accent";
  EXPECT_EQ(display_width("\xF0\x9F\x98\x80"), 2u) << "an emoji";
}

TEST(table, a_subject_cannot_steer_the_terminal) {
  EXPECT_EQ(clean_for_terminal("a\x1B[31mb\r\nc\x7F"), "a [31mb  c ");
  EXPECT_EQ(clean_for_terminal("\xC2\x9B"
                               "31m"),
            " 31m")
      << "C1 control, in UTF-8";
  EXPECT_EQ(clean_for_terminal("\xE2\x80\xAE"
                               "evil"),
            "evil")
      << "right-to-left override";
  EXPECT_EQ(clean_for_terminal("\xFFx"), "\xEF\xBF\xBDx");
  table t({"A"});
  t.add({{"x\x1B[0m", colour::bad}});
  EXPECT_EQ(t.print(true), "\033[2mA\033[0m\n\033[31mx [0m\033[0m\n");
}

// ---- the command
// --------------------------------------------------------------------------------------------------------------------------

class ctl_test : public ::testing::Test {
 protected:
  ctl_test() {
    for (const char* name : {"MAILHERD_PUBLIC_URL", "MAILHERD_LISTEN", "MAILHERD_ADMIN_TOKEN", "MAILHERD_ADMIN_TOKEN_FILE"}) unsetenv(name);
    directory_ = std::filesystem::temp_directory_path() / ("mailherd-ctl-test-" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
    setenv("MAILHERD_DATA_DIR", directory_.c_str(), 1);
    std::ofstream(directory_ / "admin-token") << "file-token\n";
    server_ = api::http_server::create();
    const auto port = server_->listen("127.0.0.1:0", {50, 16384, 1'000'000, seconds(20), seconds(20), seconds(20)},
                                      [this](api::request r, const api::respond& answer) {
                                        const std::lock_guard lock(guard_);
                                        requests_.push_back(std::move(r));
                                        if (answers_.empty()) return (*answer)(api::not_found());
                                        (*answer)(std::move(answers_.front()));
                                        answers_.pop_front();
                                      });
    EXPECT_TRUE(port);
    setenv("MAILHERD_LISTEN", ("127.0.0.1:" + std::to_string(*port)).c_str(), 1);
    server_->run();
  }
  ~ctl_test() override {
    server_->stop(seconds(1));
    std::filesystem::remove_all(directory_);
  }

  int ctl(std::vector<std::string> words) {
    words.insert(words.begin(), "ctl");
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int exit = run(static_cast<int>(argv.size()), argv.data());
    std::fflush(stdout);
    out_ = ::testing::internal::GetCapturedStdout();
    err_ = ::testing::internal::GetCapturedStderr();
    return exit;
  }
  void answers(std::initializer_list<api::response> all) { answers_ = all; }
  static api::response ok(int status, std::string body) { return api::json_answer(status, std::move(body)); }
  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(directory_ / name) << text;
    return directory_ / name;
  }

  std::filesystem::path directory_;
  std::shared_ptr<api::http_server> server_;
  std::mutex guard_;
  std::deque<api::response> answers_;
  std::vector<api::request> requests_;
  std::string out_, err_;
};

TEST_F(ctl_test, wrong_usage_is_2_with_one_line) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"nonsense"},
                                             {"tenants"},
                                             {"tenants", "create"},
                                             {"channels", "list"},
                                             {"channels", "list", "t1", "--colour"},
                                             {"channels", "edit", "t1", "c1"},
                                             {"channels", "create", "t1", "--name", "x"},
                                             {"channels", "edit", "t1", "c1", "--port", "abc"},
                                             {"channels", "edit", "t1", "c1", "--proxy", "nonsense"}}) {
    EXPECT_EQ(ctl(words), 2) << ::testing::PrintToString(words);
    EXPECT_EQ(std::count(err_.begin(), err_.end(), '\n'), 1) << err_;
  }
  EXPECT_TRUE(requests_.empty());
}

TEST_F(ctl_test, a_missing_token_and_a_bad_address_are_2) {
  std::filesystem::remove(directory_ / "admin-token");
  EXPECT_EQ(ctl({"cluster"}), 2);
  EXPECT_NE(err_.find("MAILHERD_ADMIN_TOKEN"), std::string::npos);
  EXPECT_EQ(ctl({"cluster", "--token", "x", "--url", "ftp://x"}), 2);
}

TEST_F(ctl_test, the_token_comes_from_flag_environment_or_file) {
  EXPECT_EQ(ctl({"tenants", "show", "t1"}), 1);
  EXPECT_EQ(requests_.back().header("authorization"), "Bearer file-token");
  setenv("MAILHERD_ADMIN_TOKEN_FILE", file("other", "other-token\n").c_str(), 1);
  ctl({"tenants", "show", "t1"});
  EXPECT_EQ(requests_.back().header("authorization"), "Bearer other-token");
  setenv("MAILHERD_ADMIN_TOKEN", "environment-token", 1);
  ctl({"tenants", "show", "t1"});
  EXPECT_EQ(requests_.back().header("authorization"), "Bearer environment-token");
  ctl({"tenants", "show", "t1", "--token", "flag-token"});
  EXPECT_EQ(requests_.back().header("authorization"), "Bearer flag-token");
}

TEST_F(ctl_test, errors_of_the_api_are_1_and_name_the_fields) {
  answers({api::invalid_fields({{"incoming.port", "must be a whole number from 1 to 65535"}, {"name", "is required"}})});
  EXPECT_EQ(ctl({"channels", "edit", "t1", "c1", "--port", "0"}), 1);
  EXPECT_NE(err_.find("  incoming.port: must be a whole number"), std::string::npos) << err_;
  EXPECT_NE(err_.find("  name: is required"), std::string::npos);
  answers({api::problem(401, "unauthorized", "Unauthorized", "The token is not known.")});
  EXPECT_EQ(ctl({"cluster"}), 2) << "wrong configuration";
  EXPECT_EQ(ctl({"cluster", "--url", "http://127.0.0.1:1"}), 1);
  EXPECT_NE(err_.find("cannot be reached"), std::string::npos);
  answers({ok(200, "<html>")});
  EXPECT_EQ(ctl({"cluster"}), 1);
  answers({ok(200, "[1]")});
  EXPECT_EQ(ctl({"tenants", "list"}), 1);
}

TEST_F(ctl_test, lists_are_tables_over_all_pages_and_json_is_the_apis) {
  const auto first = ok(
      200, R"({"items":[{"id":"t1","name":"Acme","limits":{"max_channels":5},"created_at":"2026-01-01T00:00:00.000000Z"}],"next":"a b"})");
  const auto second =
      ok(200, R"({"items":[{"id":"t2","name":"Zed","limits":{"max_channels":7},"created_at":"2026-01-01T00:00:00.000000Z"}],"next":null})");
  answers({first, second});
  EXPECT_EQ(ctl({"tenants", "list"}), 0);
  EXPECT_EQ(out_,
            "ID  NAME  MAX CHANNELS  CREATED\n"
            "t1  Acme  5             2026-01-01T00:00:00.000000Z\n"
            "t2  Zed   7             2026-01-01T00:00:00.000000Z\n");
  EXPECT_EQ(requests_.back().target, "/v1/tenants?limit=500&after=a%20b");
  answers({first, second});
  EXPECT_EQ(ctl({"--json", "tenants", "list"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_)["items"].size(), 2u);
}

TEST_F(ctl_test, a_channel_is_created_with_a_password_from_a_file) {
  answers({ok(201, R"({"id":"c5","state":"connecting"})")});
  EXPECT_EQ(
      ctl({"channels", "create", "t1", "--name", "Support", "--address", "s@acme.test", "--protocol", "imap", "--host", "mail.acme.test",
           "--proxy", "socks5://me@proxy.test:1080", "--username", "support", "--password-file", file("password", "hush\n")}),
      0)
      << err_;
  EXPECT_EQ(out_, "c5\n");
  EXPECT_EQ(err_, "");
  const auto body = nlohmann::json::parse(requests_.back().body);
  EXPECT_EQ(body["auth"], (nlohmann::json{{"type", "basic"}, {"username", "support"}, {"password", "hush"}}));
  EXPECT_EQ(body["incoming"]["proxy"], (nlohmann::json{{"kind", "socks5"}, {"host", "proxy.test"}, {"port", 1080}, {"username", "me"}}));
  EXPECT_FALSE(body.contains("enabled"));
}

TEST_F(ctl_test, a_password_on_the_command_line_is_taken_with_a_warning_and_never_printed) {
  answers({ok(202, R"({"generation":2})")});
  EXPECT_EQ(ctl({"channels", "auth", "t1", "c1", "--username", "u", "--password", "canary"}), 0);
  EXPECT_NE(err_.find("warning"), std::string::npos);
  EXPECT_EQ((out_ + err_).find("canary"), std::string::npos);
  EXPECT_EQ(requests_.back().method, api::verb::put);
}

TEST_F(ctl_test, wait_shows_progress_until_the_channel_serves) {
  answers({ok(201, R"({"id":"c5","state":"connecting"})"),
           ok(200, R"({"id":"c5","state":"backfilling","backfill":{"done":50,"total":200}})"),
           ok(200, R"({"id":"c5","state":"active","backfill":null,"advice":null})")});
  EXPECT_EQ(ctl({"channels", "create", "t1", "--app", "a3", "--host", "h.test", "--wait"}), 0) << err_;
  EXPECT_EQ(err_, "c5 is backfilling, 50 of 200 messages (25 %)\nc5 is active\n");
}

TEST_F(ctl_test, wait_ends_with_the_advice_when_a_person_is_needed) {
  answers(
      {ok(202, R"({"generation":2})"),
       ok(200,
          R"({"id":"c5","state":"active","state_detail":null,"advice":"Enter the password again.",
              "auth":{"observed_generation":1,"switch":{"state":"failed"}}})")});
  EXPECT_EQ(ctl({"channels", "auth", "t1", "c5", "--username", "u", "--password-file", file("password", "x"), "--wait"}), 1);
  EXPECT_NE(err_.find("Enter the password again."), std::string::npos);
}

TEST_F(ctl_test, a_failed_test_is_1_with_the_advice) {
  answers({ok(
      200,
      R"({"ok":false,"messages":null,"account":null,"steps":[{"step":"dns","ok":true,"ms":3,"detail":"192.0.2.1","advice":null},
          {"step":"tcp","ok":false,"ms":20,"detail":"refused","advice":"Check the port."}]})")});
  EXPECT_EQ(ctl({"channels", "test", "t1", "c1"}), 1);
  EXPECT_NE(out_.find("tcp   failed  20  refused"), std::string::npos) << out_;
  EXPECT_NE(out_.find("Check the port."), std::string::npos);
}

TEST_F(ctl_test, connect_prints_where_the_person_goes_and_waits_until_he_has_been_there) {
  answers({ok(200, R"({"flow":"browser","authorize_url":"https://id.test/auth?x=1","expires_at":"x"})")});
  EXPECT_EQ(ctl({"channel", "connect", "t1", "c1", "--login-hint", "a@b.test"}), 0);
  EXPECT_EQ(out_, "https://id.test/auth?x=1\n");
  EXPECT_EQ(nlohmann::json::parse(requests_[0].body)["login_hint"], "a@b.test");
  answers({ok(200, R"({"flow":"device","user_code":"ABCD","verification_uri":"https://id.test/device","expires_at":"x"})"),
           ok(200, R"({"state":"done","account":"a@b.test"})")});
  EXPECT_EQ(ctl({"channels", "connect", "t1", "c1", "--device", "--wait"}), 0);
  EXPECT_NE(out_.find("ABCD"), std::string::npos);
  EXPECT_NE(out_.find("a@b.test is connected"), std::string::npos);
  answers({ok(200, R"({"flow":"link","url":"https://m.test/oauth2/link/x","expires_at":"x"})"), ok(200, R"({"state":"failed","detail":"consent was declined"})")});
  EXPECT_EQ(ctl({"channels", "connect", "t1", "c1", "--link", "--wait"}), 1);
  EXPECT_NE(err_.find("declined"), std::string::npos);
  EXPECT_EQ(ctl({"channels", "connect", "t1", "c1", "--link", "--device"}), 2);
}

TEST_F(ctl_test, going_back_and_an_apps_setup) {
  answers({ok(202, R"({"generation":3})")});
  EXPECT_EQ(ctl({"channels", "rollback", "t1", "c1"}), 0);
  EXPECT_NE(out_.find("generation 3"), std::string::npos);
  answers({ok(200, R"({"redirect_uri":"https://m.test/oauth2/callback","admin_consent_url":null,"powershell":["New-ServicePrincipal"],"notes":["note"]})")});
  EXPECT_EQ(ctl({"apps", "setup", "t1", "a1", "--mailbox", "x@acme.test"}), 0);
  EXPECT_NE(out_.find("New-ServicePrincipal"), std::string::npos);
  EXPECT_NE(requests_.back().target.find("mailbox=x%40acme.test"), std::string::npos);
}

TEST_F(ctl_test, a_raw_message_goes_to_a_file_byte_for_byte) {
  std::string raw = "Subject: x\r\n\r\n";
  raw += std::string("\0\xFF", 2) + std::string(300'000, 'y');
  answers({ok(200, raw), api::not_found()});
  const auto target = directory_ / "mail.eml";
  EXPECT_EQ(ctl({"messages", "raw", "t1", "m1-1", "-o", target}), 0);
  std::ifstream in(target, std::ios::binary);
  EXPECT_TRUE(std::string((std::istreambuf_iterator<char>(in)), {}) == raw);
  EXPECT_EQ(ctl({"messages", "raw", "t1", "m1-2", "-o", directory_ / "none.eml"}), 1);
}

TEST_F(ctl_test, tail_prints_each_message_once_also_when_it_is_cut_off) {
  const auto event = [](int n) {
    return "id: " + std::to_string(n) + "\nevent: message.received\ndata: {\"id\":\"m1-" + std::to_string(n) +
           "\",\"channel\":\"c1\",\"sequence\":" + std::to_string(n) + ",\"received_at\":\"2026-11-24T00:00:00Z\",\"subject\":\"hello " + std::to_string(n) + "\",\"from\":[]}\n\n";
  };
  const auto head = ok(200, R"({"items":[],"next":"4"})");
  // The first connection ends in the middle of an event.
  answers({head, ok(200, "retry: 1000\n\n" + event(5) + event(6).substr(0, 30)), head, ok(200, ": still here\n\n" + event(6) + event(7))});
  EXPECT_EQ(ctl({"tail", "t1", "--limit", "3"}), 0) << err_;
  EXPECT_EQ(std::count(out_.begin(), out_.end(), '\n'), 3) << out_;
  EXPECT_NE(out_.find("hello 5"), std::string::npos);
  EXPECT_LT(out_.find("hello 6"), out_.find("hello 7"));
  EXPECT_EQ(requests_[1].target, "/v1/tenants/t1/messages/stream?after=4");
  EXPECT_EQ(requests_[3].target, "/v1/tenants/t1/messages/stream?after=5");
}

TEST_F(ctl_test, a_webhooks_secret_is_alone_on_standard_output) {
  answers({ok(201, R"({"id":"w1","url":"https://x.test/","secret":"whsec_abc"})"), ok(202, R"({"after":"0"})"),
           ok(200, R"({"items":[{"id":"d1","state":"dead","type":"message.received","webhook_id":"m1-1","attempts":70,"at":"2026-11-24T00:00:00Z","status":500,"ms":3,"error":"no"}],"next":null})")});
  EXPECT_EQ(ctl({"webhooks", "create", "t1", "--url", "https://x.test/", "--event", "message.received"}), 0);
  EXPECT_EQ(out_, "whsec_abc\n");
  EXPECT_EQ(requests_[0].body, R"({"url":"https://x.test/","events":["message.received"]})");
  EXPECT_EQ(ctl({"webhooks", "replay", "t1", "w1", "--after", "0"}), 0);
  EXPECT_EQ(requests_[1].body, R"({"after":"0"})");
  EXPECT_EQ(ctl({"webhooks", "deliveries", "t1", "w1", "--state", "dead"}), 0);
  EXPECT_NE(out_.find("m1-1"), std::string::npos) << out_;
}

TEST_F(ctl_test, words_in_paths_are_escaped) {
  ctl({"tenants", "show", "../x y?z"});
  EXPECT_EQ(requests_.back().target, "/v1/tenants/..%2Fx%20y%3Fz");
}

TEST_F(ctl_test, help_is_0) { EXPECT_EQ(ctl({"--help"}), 0); }

}  // namespace
}  // namespace mailherd::ctl
