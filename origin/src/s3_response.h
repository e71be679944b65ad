// Judges how an S3 server refuses. Pure.
#pragma once

#include "http_response.h"
#include "s3_xml.h"

namespace sluice::origin {

// For a status that is not the one wanted. `error` is the error document, empty fields when none.
Verdict JudgeStatus(int status, const S3Error& error);

}  // namespace sluice::origin
