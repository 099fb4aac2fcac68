import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.annotation.IdParam;
import ca.uhn.fhir.rest.annotation.OptionalParam;
import ca.uhn.fhir.rest.annotation.Read;
import ca.uhn.fhir.rest.annotation.Search;
import ca.uhn.fhir.rest.param.DateRangeParam;
import ca.uhn.fhir.rest.server.FifoMemoryPagingProvider;
import ca.uhn.fhir.rest.server.IResourceProvider;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.hl7.fhir.instance.model.api.IBaseResource;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Resource;

/** A FHIR server made with HAPI as a hospital would: its pages are HAPI's (`?_getpages=…`), two resources to a page. Arguments: PORT RECORDS (a Bundle). */
class FhirServer {
  static final FhirContext FHIR = FhirContext.forR4();
  static Path records;

  static <T extends Resource> List<T> held(Class<T> kind, DateRangeParam since) throws IOException {
    List<T> found = new ArrayList<>();
    Date from = since == null ? null : since.getLowerBoundAsInstant();
    for (Bundle.BundleEntryComponent entry : FHIR.newJsonParser().parseResource(Bundle.class, Files.readString(records)).getEntry()) {
      Resource one = entry.getResource();
      if (kind.isInstance(one) && (from == null || !one.getMeta().getLastUpdated().before(from))) {
        found.add(kind.cast(one));
      }
    }
    return found;
  }

  static <T extends Resource> T one(Class<T> kind, IdType id) throws IOException {
    return held(kind, null).stream().filter(one -> one.getIdPart().equals(id.getIdPart())).findFirst().orElseThrow(() -> new ResourceNotFoundException(id));
  }

  public static class Patients implements IResourceProvider {
    @Override
    public Class<? extends IBaseResource> getResourceType() {
      return Patient.class;
    }

    @Read
    public Patient read(@IdParam IdType id) throws IOException {
      return one(Patient.class, id);
    }

    @Search
    public List<Patient> search(@OptionalParam(name = "_lastUpdated") DateRangeParam since) throws IOException {
      return held(Patient.class, since);
    }
  }

  public static class Observations implements IResourceProvider {
    @Override
    public Class<? extends IBaseResource> getResourceType() {
      return Observation.class;
    }

    @Read
    public Observation read(@IdParam IdType id) throws IOException {
      return one(Observation.class, id);
    }

    @Search
    public List<Observation> search(@OptionalParam(name = "_lastUpdated") DateRangeParam since) throws IOException {
      return held(Observation.class, since);
    }
  }

  public static void main(String[] given) throws Exception {
    records = Path.of(given[1]);
    RestfulServer fhir = new RestfulServer(FHIR);
    fhir.setResourceProviders(new Patients(), new Observations());
    FifoMemoryPagingProvider pages = new FifoMemoryPagingProvider(100);
    pages.setDefaultPageSize(2);
    pages.setMaximumPageSize(2);
    fhir.setPagingProvider(pages);
    Server server = new Server();
    ServerConnector connector = new ServerConnector(server);
    connector.setHost("127.0.0.1");
    connector.setPort(Integer.parseInt(given[0]));
    server.addConnector(connector);
    ServletContextHandler context = new ServletContextHandler("/");
    context.addServlet(new ServletHolder(fhir), "/*");
    server.setHandler(context);
    server.start();
    server.join();
  }
}
