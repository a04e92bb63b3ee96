// node/ctl/secrets: files, standard input, prompts; see the header.
#include "node/ctl/secrets.hpp"

#include <termios.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>

namespace mailherd::ctl {

namespace {

constexpr std::size_t most_file_bytes = 64 * 1024;

result<secret<>> line_of(std::istream& in, const std::string& what, const std::string& where) {
  std::string line;
  std::getline(in, line);
  if (!line.empty() && line.back() == '\r') line.pop_back();
  if (line.empty()) return fail(failure::invalid_input, what + ": " + where + " is empty or cannot be read");
  return secret<>(std::move(line));
}

// Turns the terminal's echo off for a while.
class silent_terminal {
 public:
  silent_terminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    auto silent = before_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    changed_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
  }
  ~silent_terminal() {
    if (changed_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  silent_terminal(const silent_terminal&) = delete;
  silent_terminal& operator=(const silent_terminal&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

}  // namespace

result<secret<>> read_secret(const secret_source& from, const std::string& what, const std::string& flag) {
  if (from.file == "-") return line_of(std::cin, what, "standard input");
  if (!from.file.empty()) {
    std::ifstream in(from.file);
    return line_of(in, what, from.file);
  }
  if (!from.plain.empty()) {
    std::fprintf(stderr, "mailherd ctl: warning: a %s on the command line can be seen by every user of this machine; use %s\n",
                 what.c_str(), flag.c_str());
    return secret<>(from.plain);
  }
  if (isatty(STDIN_FILENO) == 0) return fail(failure::invalid_input, "no " + what + ": give " + flag + " (\"-\" reads standard input)");
  std::fprintf(stderr, "%s: ", what.c_str());
  result<secret<>> typed;
  {
    const silent_terminal silence;
    typed = line_of(std::cin, what, "the input");
  }
  std::fputc('\n', stderr);
  return typed;
}

result<std::string> read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in || bytes.empty() || bytes.size() > most_file_bytes)
    return fail(failure::invalid_input, path + " cannot be read, is empty, or is larger than 64 KiB");
  return bytes;
}

}  // namespace mailherd::ctl
