<?php
// A small legacy service: it asks Ingo for a session and sends the browser's owner on. It knows nothing of signing.
//   POST /    participant=…   creates a session, answers with its authorized_url
//   GET  /healthz
require __DIR__ . '/create_session.php';

header('Content-Type: application/json');
if ($_SERVER['REQUEST_URI'] === '/healthz') {
    echo "{\"ok\":true}\n";
    return;
}
if ($_SERVER['REQUEST_METHOD'] !== 'POST' || empty($_POST['participant'])) {
    http_response_code(400);
    echo "{\"error\":\"post participant=…\"}\n";
    return;
}
[$status, $answer] = create_session($_POST['participant']);
http_response_code($status === 200 ? 200 : 502);
echo json_encode(['authorized_url' => $answer['data']['authorized_url'] ?? null,
                  'sent' => $answer['sent'] ?? null, 'why' => $answer['detail'] ?? $answer['client_message'] ?? null]), "\n";
