// node/main: the words of the command line. One line on stderr when something is wrong; 0 done, 1 failed, 2 wrong usage or configuration.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <list>
#include <string>

#include "node/config.hpp"
#include "node/ctl/ctl.hpp"
#include "node/memory.hpp"
#include "node/node.hpp"
#include "node/version.hpp"
#include "storage/keyring.hpp"

extern char** environ;   // NOLINT: environ(7)

namespace {

using namespace mailherd;

constexpr int done = 0, failed = 1, wrong_usage = 2;

int complain(int status, const std::string& line) {
  std::fprintf(stderr, "mailherd: %s\n", line.c_str());
  return status;
}

int status_of(const error& e) {
  const bool mistake = e.code == failure::invalid_input || e.code == failure::conflict || e.code == failure::seal_failed;
  return mistake ? wrong_usage : failed;
}

/// The settings as flags of one command, and where they end up.
class flags {
 public:
  explicit flags(CLI::App& command) {
    command.add_option("--config", file_, "TOML file with the settings below, spelled with _ (MAILHERD_CONFIG)")->type_name("FILE");
    for (const auto& s : node::settings()) {
      auto& value = values_.emplace_back(s.name, std::string()).second;
      const auto name = node::flag_of(s.name);
      auto meaning = std::string(s.meaning);
      if (!s.fallback.empty()) meaning += " [" + s.fallback + "]";
      if (s.is == node::setting::kind::secret) meaning += "; visible to every user of this machine when given here";
      if (s.is == node::setting::kind::yes_or_no)
        command.add_flag(name + "{true}", value, meaning);
      else
        command.add_option(name, value, meaning)->type_name("");
    }
  }

  [[nodiscard]] result<node::config> read(const CLI::App& command) const {
    node::layer said;
    for (const auto& [name, value] : values_) {
      const auto flag = node::flag_of(name);
      if (command.count(flag) > 0) said[std::string(name)] = {value, flag};
    }
    auto read = node::load(file_, environ, said);
    // From here on nothing that this program starts can read them.
    for (const auto& s : node::settings())
      if (s.is == node::setting::kind::secret) unsetenv(node::variable_of(s.name).c_str());
    return read;
  }

 private:
  std::string file_;
  std::list<std::pair<std::string_view, std::string>> values_;   // a list: CLI11 keeps their addresses
};

int with_config(const CLI::App& command, const flags& f, const std::function<result<void>(const node::config&)>& work) {
  const auto c = f.read(command);
  if (!c) return complain(status_of(c.error()), c.error().detail);
  if (const auto worked = work(*c); !worked) return complain(status_of(worked.error()), worked.error().detail);
  return done;
}

std::string hint(const CLI::App& top, std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  std::string path = "mailherd";
  for (const auto* at = &top; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    path += " " + at->get_name();
  }
  std::vector<std::string> known;
  for (const auto& s : node::settings()) known.push_back(node::flag_of(s.name));
  const auto flag = text.rfind("--");
  const auto near = flag == std::string::npos ? "" : node::nearest(text.substr(flag, text.find_first_of(" =", flag) - flag), known);
  return text + (near.empty() ? " (" : " (did you mean " + near + "? ") + path + " --help)";
}

int run(int argc, char** argv) {
  CLI::App top("Keeps watch over mailboxes and hands every message over exactly once", "mailherd");
  top.require_subcommand(1);
  int status = done;

  auto* node = top.add_subcommand("node", "Run one node in the foreground; SIGTERM drains it, a second one stops it at once");
  const flags node_flags(*node);
  node->callback([&] { status = with_config(*node, node_flags, node::run); });

  auto* db = top.add_subcommand("db", "The database")->require_subcommand(1);
  auto* migrate = db->add_subcommand("migrate", "Bring the database to this version and end");
  const flags migrate_flags(*migrate);
  migrate->callback([&] { status = with_config(*migrate, migrate_flags, node::migrate); });

  auto* keys = top.add_subcommand("keys", "Keys that seal credentials")->require_subcommand(1);
  keys->add_subcommand("generate", "Print a new key: a line for MAILHERD_MASTER_KEY_FILE; the first line seals, all of them open")
      ->callback([] { std::printf("%s\n", store::keyring::generate().reveal().c_str()); });

  auto* rotate =
      keys->add_subcommand("rotate", "Seal everything in the database with the first key; afterwards the others may be taken away");
  const flags rotate_flags(*rotate);
  rotate->callback([&] {
    status = with_config(*rotate, rotate_flags, [](const node::config& c) -> result<void> {
      const auto sealed = node::rotate_keys(c);
      if (!sealed) return fail(sealed.error());
      std::printf("%zu values sealed with the first key\n", *sealed);
      return {};
    });
  });

  top.add_subcommand("version", "Print the version")->callback([] {
    const auto v = node::version();
    std::printf("mailherd %.*s\n", static_cast<int>(v.size()), v.data());
  });
  top.add_subcommand("ctl", "The API from a terminal: tenants, channels, messages (mailherd ctl --help)");   // handled before

  try {
    top.parse(argc, argv);
  } catch (const CLI::Success& e) {   // --help
    return top.exit(e);
  } catch (const CLI::ParseError& e) {
    return complain(wrong_usage, hint(top, e.what()));
  }
  return std::fflush(stdout) == 0 ? status : complain(failed, "standard output cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  node::return_memory_early();
  try {
    if (argc > 1 && std::strcmp(argv[1], "ctl") == 0) return ctl::run(argc - 1, argv + 1);
    return run(argc, argv);
  } catch (const std::exception& e) {
    return complain(failed, std::string("internal error: ") + e.what());
  }
}
