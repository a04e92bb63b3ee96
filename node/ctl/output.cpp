// node/ctl/output: errors and objects on the terminal; see the header.
#include "node/ctl/output.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace mailherd::ctl {

namespace {

constexpr std::int64_t page_items = 500;

void put(std::FILE* to, const std::string& s) { std::fwrite(s.data(), 1, s.size(), to); }

const json* find(const json& j, const std::string& path) {
  const json* at = &j;
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto dot = path.find('.', begin);
    const auto name = path.substr(begin, dot == std::string::npos ? dot : dot - begin);
    if (!at->is_object() || !at->contains(name)) return nullptr;
    at = &(*at)[name];
    if (dot == std::string::npos) return at;
    begin = dot + 1;
  }
  return nullptr;
}

std::string plain(const json& j) {
  if (j.is_null()) return "-";
  if (j.is_string()) return j.get<std::string>();
  return j.dump(-1, ' ', false, json::error_handler_t::replace);
}

void flatten(const json& j, const std::string& prefix, std::vector<std::pair<std::string, std::string>>& out) {
  for (const auto& [name, value] : j.items()) {
    const auto path = prefix.empty() ? name : prefix + "." + name;
    if (value.is_object())
      flatten(value, path, out);
    else
      out.emplace_back(path, plain(value));
  }
}

}  // namespace

int complain(int exit, const std::string& words) {
  put(stderr, "mailherd ctl: " + clean_for_terminal(words) + "\n");
  return exit;
}

void print_problem(const context& c, const reply& answer) {
  const auto problem = json::parse(answer.body, nullptr, false);
  if (!problem.is_object()) {
    complain(failed, fmt::format("the server answered {} without saying why", answer.status));
    return;
  }
  if (c.json_output) {
    put(stderr, problem.dump(2) + "\n");
    return;
  }
  complain(failed, fmt::format("{} ({})", text_of(problem, "detail"), answer.status));
  if (!problem.contains("errors") || !problem["errors"].is_array()) return;
  for (const auto& e : problem["errors"])
    put(stderr, clean_for_terminal(fmt::format("  {}: {}", text_of(e, "field"), text_of(e, "message"))) + "\n");
}

std::optional<json> call(context& c, const std::string& method, const std::string& path, const std::optional<json>& body, int& exit,
                         seconds timeout) {
  auto answer = c.api.send(method, path, body, timeout);
  if (!answer) {
    exit = complain(failed, answer.error().detail);
    return std::nullopt;
  }
  if (answer->status >= 200 && answer->status < 300) {
    exit = done;
    if (answer->body.empty()) return json();
    auto parsed = json::parse(answer->body, nullptr, false);
    if (!parsed.is_discarded()) return parsed;
    exit = complain(failed, "the server's answer is not JSON; is this address really Mailherd's?");
    return std::nullopt;
  }
  print_problem(c, *answer);
  exit = answer->status == 401 ? wrong_usage : failed;
  return std::nullopt;
}

std::optional<json> call_list(context& c, const std::string& path, std::int64_t limit, int& exit) {
  json all = {{"items", json::array()}, {"next", nullptr}};
  std::string after;
  while (true) {
    const auto wanted = limit > 0 ? std::min<std::int64_t>(page_items, limit - static_cast<std::int64_t>(all["items"].size())) : page_items;
    auto query = fmt::format("{}{}limit={}", path, path.find('?') == std::string::npos ? "?" : "&", wanted);
    if (!after.empty()) query += "&after=" + escape(after);
    auto page = call(c, "GET", query, std::nullopt, exit);
    if (!page) return std::nullopt;
    if (!page->is_object() || !(*page)["items"].is_array()) {
      exit = complain(failed, "the server's answer is not a list; is this address really Mailherd's?");
      return std::nullopt;
    }
    for (auto& item : (*page)["items"]) all["items"].push_back(std::move(item));
    all["next"] = (*page)["next"];
    if (!all["next"].is_string() || (limit > 0 && static_cast<std::int64_t>(all["items"].size()) >= limit)) return all;
    after = all["next"].get<std::string>();
  }
}

void print_json(const json& j) { put(stdout, j.dump(2, ' ', false, json::error_handler_t::replace) + "\n"); }

void print_object(const json& j, bool colours) {
  std::vector<std::pair<std::string, std::string>> lines;
  flatten(j, "", lines);
  table t({"field", "value"});
  for (auto& [name, value] : lines) t.add({{name, colour::faint}, {value, name == "state" ? colour_of_state(value) : colour::none}});
  const auto text = t.print(colours);
  put(stdout, text.substr(text.find('\n') + 1));  // without the head: the names say it
}

void print_table(const context& c, const table& t) { put(stdout, t.print(c.colours)); }

std::string text_of(const json& j, const std::string& path) {
  const auto* value = find(j, path);
  return value == nullptr ? "-" : plain(*value);
}

colour colour_of_state(const std::string& state) {
  if (state == "active" || state == "done" || state == "ok") return colour::good;
  if (state == "connecting" || state == "backfilling" || state == "throttled" || state == "backoff" || state == "consent_pending" ||
      state == "draining" || state == "running")
    return colour::busy;
  if (state == "disabled") return colour::faint;
  return colour::bad;
}

}  // namespace mailherd::ctl
