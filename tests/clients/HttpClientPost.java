import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;

/** Posts session requests with the JDK's client as it is by default: it offers an upgrade to h2c on each connection. */
public class HttpClientPost {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        byte[] body = "{\"participant_unique_id1\":\"from-the-client\",\"city\":\"Zürich\"}".getBytes(StandardCharsets.UTF_8);
        BodyPublisher[] bodies = {
            BodyPublishers.ofByteArray(body),
            BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body)),
            BodyPublishers.ofByteArray(body),
        };
        for (BodyPublisher publisher : bodies) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(args[0]))
                .timeout(Duration.ofSeconds(10))
                .POST(publisher)
                .build();
            var answer = client.send(request, BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IllegalStateException(answer.statusCode() + " " + answer.body());
            }
            System.out.println(answer.body());
        }
    }
}
