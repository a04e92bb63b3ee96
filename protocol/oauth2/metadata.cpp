// protocol/oauth2/metadata: see the header.
#include "protocol/oauth2/metadata.hpp"

#include <nlohmann/json.hpp>

#include "core/server_text.hpp"
#include "protocol/oauth2/providers.hpp"

namespace mailherd::oauth2 {

namespace {

using nlohmann::json;

constexpr std::string_view well_known = "/.well-known/openid-configuration";

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::string_view without_slash(std::string_view url) {
  while (url.ends_with('/')) url.remove_suffix(1);
  return url;
}

bool is_web_address(std::string_view text) { return text.starts_with("https://") || text.starts_with("http://"); }

}  // namespace

std::string_view origin_of(std::string_view url) {
  const auto slashes = url.find("://");
  if (slashes == std::string_view::npos) return {};
  return url.substr(0, url.find_first_of("/?#", slashes + 3));
}

std::string metadata_url_of(std::string_view issuer) { return std::string(without_slash(issuer)) + std::string(well_known); }

result<std::string> metadata_url(const oauth_app& app) {
  if (!app.issuer.empty()) return app.issuer.ends_with(well_known) ? app.issuer : metadata_url_of(app.issuer);
  // Tokens of an endpoint of its own are not the table's provider's.
  if (app.provider == provider_kind::custom || !app.token_url.empty()) return std::string();
  return provider_metadata_url(app);
}

result<metadata> parse_metadata(const oauth_app& app, const std::string& url, std::string_view body) {
  const auto object = json::parse(body, nullptr, false);
  if (!object.is_object()) return fail(failure::token_unavailable, "the provider's description of itself cannot be read");
  metadata m{text_of(object, "issuer"), text_of(object, "authorization_endpoint"), text_of(object, "token_endpoint"),
             text_of(object, "device_authorization_endpoint"), text_of(object, "jwks_uri")};
  if (!is_web_address(m.issuer) || !is_web_address(m.token_url) || !is_web_address(m.keys_url))
    return fail(failure::token_unavailable, "the provider's description of itself is not complete");
  const bool of_microsoft = app.provider == provider_kind::microsoft && app.issuer.empty();
  const bool by_document = app.issuer == url;  // the operator named the document itself: whatever issuer it names is meant
  if (!of_microsoft && !by_document && metadata_url_of(m.issuer) != url)
    return fail(failure::app_misconfigured, "the provider says that its issuer is " + clean_server_text(m.issuer) + ": use that as the app's issuer");
  if (!is_web_address(m.authorize_url)) m.authorize_url.clear();
  if (!is_web_address(m.device_url)) m.device_url.clear();
  return m;
}

oauth_app completed(const oauth_app& app, const metadata& facts) {
  oauth_app out = app;
  if (app.provider != provider_kind::custom) return out;  // the table has them
  if (out.authorize_url.empty()) out.authorize_url = facts.authorize_url;
  if (out.token_url.empty()) out.token_url = facts.token_url;
  if (out.device_url.empty()) out.device_url = facts.device_url;
  return out;
}

bool speaks_for(const metadata& facts, const std::string& token_url) {
  return !origin_of(token_url).empty() && origin_of(facts.token_url) == origin_of(token_url);
}

}  // namespace mailherd::oauth2
