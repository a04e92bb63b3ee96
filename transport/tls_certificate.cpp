// transport/tls_certificate: words about certificates.
#include "transport/tls_certificate.hpp"

#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "core/server_text.hpp"
#include "transport/address.hpp"

namespace mailherd::net {

namespace {

constexpr std::size_t names_shown = 5;

std::string field(const X509_NAME* name, int nid) {
  const int at = X509_NAME_get_index_by_NID(name, nid, -1);
  if (at < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return {};
  std::string out = clean_server_text({reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size)});
  OPENSSL_free(utf8);
  return out;
}

std::string plural(int n, std::string_view unit) { return fmt::format("{} {}{}", n, unit, n == 1 ? "" : "s"); }

/// "3 days", "2 hours", "5 minutes" between now and `t`, whichever comes first.
std::string distance(const ASN1_TIME* t) {
  int days = 0, secs = 0;
  if (ASN1_TIME_diff(&days, &secs, nullptr, t) != 1) return "an unknown time";
  days = std::abs(days);
  secs = std::abs(secs);
  if (days > 0) return plural(days, "day");
  if (secs >= 3600) return plural(secs / 3600, "hour");
  return plural(secs / 60, "minute");
}

std::string ip_text(const ASN1_OCTET_STRING* ip) {
  ip_address a;
  const int size = ASN1_STRING_length(ip);
  if (size != 4 && size != 16) return {};
  a.v6 = size == 16;
  std::copy_n(ASN1_STRING_get0_data(ip), size, a.bytes.begin());
  return a.text();
}

}  // namespace

std::string certificate_owner(const X509_NAME* name) {
  for (const int nid : {NID_commonName, NID_organizationName, NID_organizationalUnitName})
    if (std::string text = field(name, nid); !text.empty()) return text;
  char line[256] = {};
  X509_NAME_oneline(name, line, sizeof line);
  return line[0] != '\0' ? clean_server_text(line) : "(no name)";
}

std::string certificate_names(X509* certificate) {
  std::vector<std::string> names;
  using alternatives = std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)>;
  const alternatives found(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
                           &GENERAL_NAMES_free);
  for (int i = 0; found && i < sk_GENERAL_NAME_num(found.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(found.get(), i);
    if (name->type == GEN_DNS) {
      const auto* dns = name->d.dNSName;
      names.push_back(clean_server_text({reinterpret_cast<const char*>(ASN1_STRING_get0_data(dns)),
                                         static_cast<std::size_t>(ASN1_STRING_length(dns))}));
    } else if (name->type == GEN_IPADD) {
      if (std::string text = ip_text(name->d.iPAddress); !text.empty()) names.push_back(std::move(text));
    }
  }
  if (names.empty())
    if (std::string common = field(X509_get_subject_name(certificate), NID_commonName); !common.empty()) names.push_back(std::move(common));
  if (names.empty()) return "no name at all";
  std::string out = names.front();
  for (std::size_t i = 1; i < names.size() && i < names_shown; ++i) out += ", " + names[i];
  if (names.size() > names_shown) out += fmt::format(" and {} more", names.size() - names_shown);
  return out;
}

std::optional<wall_time> certificate_expiry(const X509* certificate) {
  std::tm t{};
  if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &t) != 1) return std::nullopt;
  const std::time_t seconds_since = timegm(&t);
  return std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::from_time_t(seconds_since));
}

error certificate_name_problem(std::string_view host, std::string_view names) {
  return {failure::certificate_name, fmt::format("the certificate shown by {} is valid for {}, not for {}", host, names, host), {}};
}

error certificate_problem(X509_STORE_CTX* verification, std::string_view host) {
  X509* leaf = X509_STORE_CTX_get0_cert(verification);
  X509* current = X509_STORE_CTX_get_current_cert(verification);
  if (current == nullptr) current = leaf;
  if (leaf == nullptr || current == nullptr) return {failure::certificate_untrusted, fmt::format("{} shows no certificate", host), {}};
  const int code = X509_STORE_CTX_get_error(verification);
  const std::string whose = X509_STORE_CTX_get_error_depth(verification) == 0
                                ? fmt::format("certificate of {}", host)
                                : fmt::format("certificate of the authority \"{}\" in the chain of {}",
                                              certificate_owner(X509_get_subject_name(current)), host);
  switch (code) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return {failure::certificate_expired, fmt::format("{} expired {} ago", whose, distance(X509_get0_notAfter(current))), {}};
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return {failure::certificate_expired,
              fmt::format("{} is not valid before {} from now", whose, distance(X509_get0_notBefore(current))),
              {}};
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return certificate_name_problem(host, certificate_names(leaf));
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return {failure::certificate_untrusted, fmt::format("{} is signed by itself, not by a trusted authority", whose), {}};
    default:
      return {failure::certificate_untrusted,
              fmt::format("{}, issued by \"{}\", leads to no trusted authority: {}", whose,
                          certificate_owner(X509_get_issuer_name(current)), X509_verify_cert_error_string(code)),
              {}};
  }
}

}  // namespace mailherd::net
