// libcurl for Swift. Swift cannot call C's variadic functions, so each kind of option and of info that
// the client uses has a typed doorway here.
#pragma once
#include <curl/curl.h>

static inline CURLcode holdfast_curl_set_long(CURL *easy, CURLoption option, long value) {
  return curl_easy_setopt(easy, option, value);
}
static inline CURLcode holdfast_curl_set_pointer(CURL *easy, CURLoption option, const void *value) {
  return curl_easy_setopt(easy, option, value);
}
