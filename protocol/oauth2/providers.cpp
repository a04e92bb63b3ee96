// protocol/oauth2/providers: see the header.
#include "protocol/oauth2/providers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace mailherd::oauth2 {

namespace {

/// {base} is the authority's scheme and host, {tenant} the directory, {resource} the mail service of the national cloud.
struct provider_row {
  provider_kind provider;
  std::string_view authorize_url, token_url, device_url;
  std::array<std::string_view, 4> imap_scopes, pop3_scopes;  ///< delegated; "" ends the list
  std::string_view app_only_scope;                           ///< "": no client_credentials for mail at this provider
  bool scope_on_refresh;
};

constexpr std::array<provider_row, 3> providers{{
    {provider_kind::microsoft,
     "{base}/{tenant}/oauth2/v2.0/authorize",
     "{base}/{tenant}/oauth2/v2.0/token",
     "{base}/{tenant}/oauth2/v2.0/devicecode",
     {"{resource}/IMAP.AccessAsUser.All", "offline_access", "openid", "profile email"},
     {"{resource}/POP.AccessAsUser.All", "offline_access", "openid", "profile email"},
     "{app_resource}/.default",
     true},
    {provider_kind::google,
     "https://accounts.google.com/o/oauth2/v2/auth",
     "https://oauth2.googleapis.com/token",
     "https://oauth2.googleapis.com/device/code",
     {"https://mail.google.com/", "openid", "email"},
     {"https://mail.google.com/", "openid", "email"},
     "",
     false},
    {provider_kind::custom, "", "", "", {}, {}, "", true},
}};

/// Microsoft's clouds: each has its own sign-in host, mail service and app registrations.
struct cloud_row {
  std::string_view base, resource, app_resource;
};

constexpr std::array<cloud_row, 4> clouds{{
    {"https://login.microsoftonline.com", "https://outlook.office.com", "https://outlook.office365.com"},
    {"https://login.microsoftonline.us", "https://outlook.office365.us", "https://outlook.office365.us"},
    {"https://login.partner.microsoftonline.cn", "https://partner.outlook.cn", "https://partner.outlook.cn"},
    {"https://login.chinacloudapi.cn", "https://partner.outlook.cn", "https://partner.outlook.cn"},
}};

/// Authorities that stand for no single directory: fine for people, refused for apps (AADSTS9001023).
constexpr std::array<std::string_view, 3> shared_tenants{"common", "organizations", "consumers"};

auto misconfigured(std::string detail) { return fail(failure::app_misconfigured, std::move(detail)); }

bool is_url(std::string_view text) {
  const bool http = text.starts_with("https://") || text.starts_with("http://");
  return http &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c > 0x20 && c < 0x7F && c != '"' && c != '<' && c != '>' && c != '\\'; }) &&
         text.size() > text.find("//") + 2;
}

bool is_tenant(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
}

struct authority_parts {
  cloud_row cloud;  ///< `base` may be a view into the app's authority
  std::string_view tenant;
};

/// "", "common", "contoso.com", a directory id, or a URL such as "https://login.microsoftonline.us/contoso.com".
result<authority_parts> microsoft_authority(std::string_view authority) {
  authority_parts parts{clouds[0], "common"};
  while (authority.ends_with('/')) authority.remove_suffix(1);
  if (authority.find("://") != std::string_view::npos) {
    if (!is_url(authority)) return misconfigured("the authority is not a URL");
    const auto slash = authority.find('/', authority.find("//") + 2);
    const std::string_view base = authority.substr(0, slash);
    const auto known = std::find_if(clouds.begin(), clouds.end(), [&](const cloud_row& c) { return c.base == base; });
    parts.cloud = known != clouds.end() ? *known : cloud_row{base, clouds[0].resource, clouds[0].app_resource};
    authority = slash == std::string_view::npos ? std::string_view{} : authority.substr(slash + 1);
    if (authority.ends_with("/v2.0")) authority.remove_suffix(5);  // as an issuer is written
  }
  if (!authority.empty()) parts.tenant = authority;
  if (!is_tenant(parts.tenant))
    return misconfigured("the authority names no directory: use its id or domain, \"organizations\" or \"common\"");
  return parts;
}

std::string fill(std::string_view text, const authority_parts& parts) {
  std::string out;
  const std::array<std::pair<std::string_view, std::string_view>, 4> values{{{"{base}", parts.cloud.base},
                                                                             {"{tenant}", parts.tenant},
                                                                             {"{resource}", parts.cloud.resource},
                                                                             {"{app_resource}", parts.cloud.app_resource}}};
  while (!text.empty()) {
    const auto hit = std::find_if(values.begin(), values.end(), [&](const auto& v) { return text.starts_with(v.first); });
    if (hit != values.end()) {
      out += hit->second;
      text.remove_prefix(hit->first.size());
    } else {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

const provider_row& row_of(provider_kind provider) {
  return *std::find_if(providers.begin(), providers.end(), [&](const provider_row& r) { return r.provider == provider; });
}

/// Names are separated by blanks; a row packs its last ones so.
void add_scopes(std::string_view names, std::vector<std::string>& out) {
  while (!names.empty()) {
    const auto blank = names.find(' ');
    if (blank != 0) out.emplace_back(names.substr(0, blank));
    names.remove_prefix(blank == std::string_view::npos ? names.size() : blank + 1);
  }
}

result<void> take_override(const std::string& own, std::string_view field, std::string& url) {
  if (own.empty()) return {};
  if (!is_url(own)) return misconfigured(fmt::format("the app's {} is not a URL", field));
  url = own;
  return {};
}

}  // namespace

result<endpoints> endpoints_for(const oauth_app& app, protocol_kind protocol, grant_kind grant) {
  const provider_row& row = row_of(app.provider);
  const bool app_only = grant == grant_kind::client_credentials;
  authority_parts parts{clouds[0], "common"};
  if (app.provider == provider_kind::microsoft) {
    auto found = microsoft_authority(app.authority);
    if (!found) return fail(std::move(found.error()));
    parts = *found;
    const bool shared = std::find(shared_tenants.begin(), shared_tenants.end(), parts.tenant) != shared_tenants.end();
    if (app_only && shared && app.token_url.empty())
      return misconfigured("client_credentials needs the directory's own id or domain as the app's authority, not a shared one");
  }
  endpoints out{fill(row.authorize_url, parts), fill(row.token_url, parts), fill(row.device_url, parts), {}, row.scope_on_refresh};
  if (auto r = take_override(app.authorize_url, "authorize_url", out.authorize_url); !r) return fail(std::move(r.error()));
  if (auto r = take_override(app.token_url, "token_url", out.token_url); !r) return fail(std::move(r.error()));
  if (auto r = take_override(app.device_url, "device_url", out.device_url); !r) return fail(std::move(r.error()));
  if (out.token_url.empty()) return misconfigured("the app has no token_url");
  if (!app.scopes.empty()) {
    out.scopes = app.scopes;
  } else if (app_only) {
    if (app.provider == provider_kind::google) return misconfigured("this provider has no client_credentials grant for mail");
    add_scopes(fill(row.app_only_scope, parts), out.scopes);
  } else {
    for (const auto scope : protocol == protocol_kind::imap ? row.imap_scopes : row.pop3_scopes) add_scopes(fill(scope, parts), out.scopes);
  }
  return out;
}

result<std::string> provider_metadata_url(const oauth_app& app) {
  switch (app.provider) {
    case provider_kind::google: return std::string("https://accounts.google.com/.well-known/openid-configuration");
    case provider_kind::microsoft: {
      const auto parts = microsoft_authority(app.authority);
      if (!parts) return fail(parts.error());
      return fill("{base}/{tenant}/v2.0/.well-known/openid-configuration", *parts);
    }
    case provider_kind::custom: break;
  }
  return std::string();
}

}  // namespace mailherd::oauth2
