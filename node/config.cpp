// node/config: reads the three sources and puts them together; see the header.
#include "node/config.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <toml++/toml.h>

#include "core/limits.hpp"
#include "core/server_text.hpp"

namespace mailherd::node {

namespace {

constexpr std::string_view prefix = "MAILHERD_";
constexpr std::string_view paired[] = {"admin_token", "master_key"};   // each has a second spelling that names a file

const setting* find(std::string_view name) {
  for (const auto& s : settings())
    if (s.name == name) return &s;
  return nullptr;
}

std::string upper(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

tl::unexpected<error> wrong(std::string line) { return fail(failure::invalid_input, std::move(line)); }

std::string did_you_mean(std::string_view word, std::string (*spelling)(std::string_view)) {
  std::vector<std::string> known;
  for (const auto& s : settings()) known.push_back(spelling(s.name));
  const auto near = nearest(word, known);
  return near.empty() ? "mailherd node --help lists them all" : fmt::format("did you mean {}?", near);
}

result<std::string> content_of(const std::filesystem::path& path, std::size_t most) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes(most + 1, '\0');
  if (in) in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!in.is_open() || in.bad() || (in.fail() && !in.eof()))
    return wrong(fmt::format("{} cannot be read: {}", path.string(), std::strerror(errno != 0 ? errno : EIO)));
  bytes.resize(static_cast<std::size_t>(in.gcount()));
  if (bytes.size() > most) return wrong(fmt::format("{} is larger than {} KiB", path.string(), most / limits::kib));
  return bytes;
}

// ---- file -----------------------------------------------------------------------------------------------------------------------------

std::string place(const std::filesystem::path& path, const toml::source_region& at) {
  return fmt::format("{}:{}", path.string(), at.begin.line);
}

/// A value as the environment would spell it; nullopt for what no setting can be.
std::optional<std::string> spelled(const toml::node& value) {
  if (const auto* text = value.as_string()) return text->get();
  if (const auto* yes = value.as_boolean()) return yes->get() ? "true" : "false";
  if (const auto* count = value.as_integer()) return std::to_string(count->get());
  const auto* list = value.as_array();
  if (list == nullptr || list->empty()) return std::nullopt;
  std::string joined;
  for (const auto& item : *list) {
    const auto* text = item.as_string();
    if (text == nullptr) return std::nullopt;
    joined += (joined.empty() ? "" : ",") + text->get();
  }
  return joined;
}

result<layer> layer_of(const std::filesystem::path& path, const toml::table& table) {
  layer out;
  for (const auto& [key, value] : table) {
    const auto at = place(path, value.source());
    const std::string name = clean_server_text(key.str());
    if (find(name) == nullptr)
      return wrong(
          fmt::format("{}: unknown key \"{}\": {}", at, name, did_you_mean(name, [](std::string_view n) { return std::string(n); })));
    auto text = spelled(value);
    if (!text) return wrong(fmt::format("{}: {}: the value must be a text, a number, true or false, or a list of texts", at, name));
    if (text->empty()) return wrong(fmt::format("{}: {} is empty: give a value or leave the line out", at, name));
    out[name] = {std::move(*text), at};
  }
  return out;
}

// ---- environment ------------------------------------------------------------------------------------------------------------------------

bool ends_with_digits_of(std::string_view name, std::string_view middle) {
  const auto at = name.rfind(middle);
  return at != std::string_view::npos && name.find_first_not_of("0123456789", at + middle.size()) == std::string_view::npos;
}

/// Kubernetes gives every pod variables for every service of its namespace, named after the service: MAILHERD_SERVICE_HOST,
/// MAILHERD_PORT=tcp://10.0.0.1:8080, MAILHERD_API_PORT_8080_TCP_ADDR. They are nobody's configuration.
bool is_service_link(std::string_view name, std::string_view value) {
  if (name.ends_with("_SERVICE_HOST") || name.find("_SERVICE_PORT") != std::string_view::npos) return true;
  if (name.ends_with("_PORT") && value.find("://") != std::string_view::npos) return true;
  for (const std::string_view part : {"_TCP", "_UDP", "_SCTP"}) {
    const auto at = name.rfind(part);
    if (at == std::string_view::npos || !ends_with_digits_of(name.substr(0, at), "_PORT_")) continue;
    const auto rest = name.substr(at + part.size());
    if (rest.empty() || rest == "_PROTO" || rest == "_PORT" || rest == "_ADDR") return true;
  }
  return false;
}

// ---- merging ----------------------------------------------------------------------------------------------------------------------------

result<layer> merge(const std::vector<layer>& layers) {
  layer all;
  for (const auto& l : layers) {
    for (const auto name : paired) {
      const auto direct = l.find(name), file = l.find(std::string(name) + "_file");
      if (direct != l.end() && file != l.end())
        return wrong(
            fmt::format("{} ({}) and {}_file ({}) are both given: leave one out", name, direct->second.origin, name, file->second.origin));
      if (direct == l.end() && file == l.end()) continue;
      all.erase(std::string(name));
      all.erase(std::string(name) + "_file");
    }
    for (const auto& [name, value] : l) all[name] = value;
  }
  return all;
}

/// Replaces x_file by what the file holds.
result<void> read_secret_files(layer& all) {
  for (const auto name : paired) {
    const auto file = all.find(std::string(name) + "_file");
    if (file == all.end()) continue;
    auto bytes = content_of(file->second.value, limits::secret_file_bytes);
    if (!bytes) return wrong(fmt::format("{}_file ({}): {}", name, file->second.origin, bytes.error().detail));
    if (bytes->find_first_not_of(" \t\r\n") == std::string::npos)
      return wrong(fmt::format("{}_file ({}): {} is empty", name, file->second.origin, file->second.value));
    all[std::string(name)] = {std::move(*bytes), fmt::format("{} by {}", file->second.value, file->second.origin)};
  }
  return {};
}

result<void> name_from_host(config& c) {
  if (!c.node_name.empty()) return {};
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0 || host[0] == '\0' || !find("node_name")->apply(c, host.data()).empty())
    return wrong("node_name: this host has no name that could be used: give one (MAILHERD_NODE_NAME)");
  return {};
}

}  // namespace

std::string config::where(std::string_view setting) const {
  const auto at = origins.find(setting);
  return fmt::format("{} ({})", setting, at == origins.end() ? "default" : at->second);
}

std::string variable_of(std::string_view name) { return std::string(prefix) + upper(name); }

std::string flag_of(std::string_view name) {
  std::string out = "--" + std::string(name);
  std::replace(out.begin(), out.end(), '_', '-');
  return out;
}

result<layer> read_file(const std::filesystem::path& path) {
  const auto bytes = content_of(path, limits::config_file_bytes);
  if (!bytes) return wrong(fmt::format("--config: {}", bytes.error().detail));
  try {
    return layer_of(path, toml::parse(*bytes, path.string()));
  } catch (const toml::parse_error& e) {
    return wrong(fmt::format("{}: {}", place(path, e.source()), clean_server_text(e.description())));
  }
}

result<layer> read_environment(const char* const* environment) {
  layer out;
  for (; *environment != nullptr; ++environment) {
    const std::string_view line(*environment);
    const auto equals = line.find('=');
    if (!line.starts_with(prefix) || equals == std::string_view::npos) continue;
    const auto name = line.substr(0, equals), value = line.substr(equals + 1);
    if (name == "MAILHERD_CONFIG" || is_service_link(name, value)) continue;
    const auto known = std::find_if(settings().begin(), settings().end(), [&](const setting& s) { return variable_of(s.name) == name; });
    if (known == settings().end())
      return wrong(fmt::format("{}: unknown variable: {}", clean_server_text(name), did_you_mean(name, variable_of)));
    if (!value.empty()) out[std::string(known->name)] = {std::string(value), std::string(name)};
  }
  return out;
}

result<config> resolve(const std::vector<layer>& layers) {
  auto all = merge(layers);
  if (!all) return fail(all.error());
  if (auto read = read_secret_files(*all); !read) return fail(read.error());
  config c;
  for (const auto& s : settings()) {
    if (!s.fallback.empty()) s.apply(c, s.fallback);
    const auto at = all->find(s.name);
    if (at == all->end()) continue;
    if (at->second.value.empty()) return wrong(fmt::format("{} ({}) is empty", s.name, at->second.origin));
    c.origins[std::string(s.name)] = at->second.origin;
    if (auto why = s.apply(c, at->second.value); !why.empty()) return wrong(c.where(s.name) + ": " + clean_server_text(why));
    if (s.is == setting::kind::secret && at->second.origin.starts_with("--"))
      c.warning = fmt::format("node was given {} on its command line, where every user of this machine can read it", at->second.origin);
  }
  if (auto named = name_from_host(c); !named) return fail(named.error());
  return c;
}

result<config> load(const std::string& file, const char* const* environment, const layer& flags) {
  std::vector<layer> layers;
  std::string path = file;
  for (auto* at = environment; path.empty() && *at != nullptr; ++at)
    if (std::string_view(*at).starts_with("MAILHERD_CONFIG=")) path = *at + std::strlen("MAILHERD_CONFIG=");
  if (!path.empty()) {
    auto from_file = read_file(path);
    if (!from_file) return fail(from_file.error());
    layers.push_back(std::move(*from_file));
  }
  auto from_environment = read_environment(environment);
  if (!from_environment) return fail(from_environment.error());
  layers.push_back(std::move(*from_environment));
  layers.push_back(flags);
  return resolve(layers);
}

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  std::string best;
  std::size_t least = word.size() / 3 + 2;   // further away it is a guess, not a help
  for (const auto& candidate : known) {
    std::vector<std::size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < candidate.size(); ++j) {
        const auto change = diagonal + (word[i] == candidate[j] ? 0 : 1);
        diagonal = row[j + 1];
        row[j + 1] = std::min({change, row[j] + 1, diagonal + 1});
      }
    }
    if (row.back() < least) {
      least = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace mailherd::node
