<?php
// What was once 150 lines of signing. The only change in the service is this base URL.
const INGO = 'http://127.0.0.1:8646';

/** Status and body of Ingo's answer, or of the proxy's own (application/problem+json, with "sent"). */
function create_session(string $participant): array
{
    $body = json_encode([
        'participant_unique_id1' => $participant,
        'recipient_information' => [
            'first_name' => 'Ada', 'last_name' => 'Lovelace', 'address_line1' => '1 Main St',
            'city' => 'Atlanta', 'state' => 'GA', 'zip_code' => '30313',
        ],
    ]);
    $context = stream_context_create(['http' => [
        'method' => 'POST',
        'header' => "Content-Type: application/json\r\n",
        'content' => $body,
        // Longer than the proxy's own deadline for an exchange (30 s), so that it is the proxy that says what became of it.
        'timeout' => 35,
        'ignore_errors' => true,
    ]]);
    $base = getenv('INGO_URL') ?: INGO;
    $answer = @file_get_contents("$base/api/v1/sessions/point-in-time/plugin", false, $context);
    if ($answer === false) {
        return [0, ['sent' => 'maybe', 'detail' => 'the proxy did not answer']];
    }
    preg_match('{^HTTP/1\.[01] (\d{3})}', $http_response_header[0], $status);
    return [(int) $status[1], json_decode($answer, true) ?? []];
}
